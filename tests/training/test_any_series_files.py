"""A general model comes back from its run folder as it was saved."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from tests.training.export.tiny import tiny_any_series  # noqa: E402
from training.any_series_files import any_series_settings, load_any_series, save_any_series  # noqa: E402
from training.errors import TrainingError  # noqa: E402


def test_a_network_comes_back_with_its_settings_and_weights(tmp_path: Path) -> None:
    network = tiny_any_series("GRU", conformal=0.05)
    save_any_series(network, tmp_path)
    found = load_any_series(tmp_path)
    assert found.settings == network.settings and not found.training
    for name, value in network.state_dict().items():
        assert torch.equal(found.state_dict()[name], value)


def test_settings_come_back_from_json() -> None:
    settings = tiny_any_series().settings
    assert any_series_settings(json.loads(json.dumps(asdict(settings)))) == settings


def test_a_folder_without_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="expected any_series.pt of a finished run"):
        load_any_series(tmp_path)
