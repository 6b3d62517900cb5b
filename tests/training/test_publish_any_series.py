"""A finished run of the general model becomes a version that the service can load."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

pytest.importorskip("torch")

from service.contract.manifest import load_manifest
from tests.training.export.tiny import tiny_any_series
from training.any_series_files import save_any_series
from training.export import parity_any_series as parity_module
from training.publish_any_series import publish_any_series
from training.run_record import RunRecord, begin_run, save_result

RESULT = {
    "metrics": {"mase": 1.0},
    "baselines": {"naive": {"mase": 1.5}},
    "loss": {"train": [0.3, 0.2], "validation": [0.3, 0.25], "best": 1},
    "covered": {"0.1": 0.11, "0.9": 0.89},
    "pit": [0.2] * 5,
    "evaluated": "On the last values of a few series.",
    "samples": [{"id": "series 3", "first": None, "history": [1, 2, 3], "actual": [4], "quantiles": [[*range(9)]]}],
}


def test_a_finished_run_is_published_without_a_frequency(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity_module, "BATCHES", (2,))
    monkeypatch.setattr(parity_module, "LENGTHS", (3,))
    network, run = tiny_any_series(), tmp_path / "run"
    settings = {
        "network": asdict(network.settings),
        "corpus": {},
        "evaluation": {"horizon": 48, "anomaly_threshold": 0.8},
        "card": {"name": "any-series", "description": None, "license": "MIT"},
    }
    begin_run(run, RunRecord("forecast", "command", "commit", "many", "0" * 64, 0, settings), resume=False)
    save_any_series(network, run)
    save_result(run, RESULT)
    version = publish_any_series(run, tmp_path / "models", "any-series")
    manifest = load_manifest(version)
    assert manifest.id == "any-series/1" and manifest.forecast is not None
    task = manifest.forecast
    assert (task.frequency, task.prediction_length, task.anomaly_threshold) == (None, 48, 0.8)
    assert [known.name for known in task.static_covariates] == ["season"]
    card = (version / "README.md").read_text(encoding="utf-8")
    assert "Values are flagged from 0.8 on" in card and "On the last values of a few series." in card
