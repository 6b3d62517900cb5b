"""One command goes from files of series to a run that can be published; a stopped run goes on."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from training.__main__ import main
from training.any_series_files import load_any_series

FLAGS = (
    "--length 900 --made 6 --real 4 --hidden-size 4 --epochs 1 --batch-size 4 --bptt-length 300 --horizon 3 --paths 4"
    " --measured 2 --threads 1 --no-publish"
)


def write_series(folder: Path) -> Path:
    random = np.random.default_rng(0)
    path = folder / "load.csv"
    rows = [f"{n},{np.sin(n / 4) + random.normal():.3f},{random.gamma(2):.3f}" for n in range(400)]
    path.write_text("step,a,b\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


def run(monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> int:
    monkeypatch.setattr(sys, "argv", ["training", *arguments])
    return main(arguments)


def test_files_become_a_measured_run_that_can_be_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    arguments = ["any_series", "--data", str(write_series(tmp_path)), *FLAGS.split(), "--run-folder", str(folder)]
    assert run(monkeypatch, arguments) == 0
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert {"naive", "drift"} <= result["baselines"].keys() and np.isfinite(result["metrics"]["mase"])
    assert record["data_name"] == "load.csv" and record["settings"]["corpus"]["made"] == 6
    assert str(tmp_path) not in record["command"]
    network = load_any_series(folder)
    assert network.settings.hidden_size == 4
    assert "mase" in capsys.readouterr().out.lower()
    assert run(monkeypatch, [*arguments, "--resume"]) == 0  # a finished run is only measured again
    again = load_any_series(folder)
    assert all((again.state_dict()[name] == value).all() for name, value in network.state_dict().items())


def test_settings_that_cannot_be_are_refused_in_plain_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["any_series", "--data", str(write_series(tmp_path)), "--conformal", "2"]
    assert run(monkeypatch, arguments) == 1
    assert "conformal: expected a rate from 0 to below 1, got 2.0" in " ".join(capsys.readouterr().err.split())
