"""A forecaster comes back from its run folder as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from training.errors import TrainingError
from training.forecaster_files import load_forecaster, save_forecaster
from training.networks.forecaster import CovariateScale, Forecaster, ForecasterSettings, StaticEncoding


def test_settings_and_weights_come_back(tmp_path: Path) -> None:
    settings = ForecasterSettings(
        "LSTM",
        4,
        2,
        0.1,
        (0.1, 0.5, 0.9),
        (1, 24),
        0.9,
        ("hour_of_day",),
        (CovariateScale("price", 30.0, 5.0),),
        (StaticEncoding("kind", categories=("big", "small")), StaticEncoding("size", 2.0, 1.0)),
    )
    network = Forecaster(settings)
    save_forecaster(network, tmp_path)
    again = load_forecaster(tmp_path)
    assert again.settings == settings
    assert not again.training
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in network.state_dict().items())


def test_unfinished_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"expected forecaster\.pt of a finished run"):
        load_forecaster(tmp_path)
