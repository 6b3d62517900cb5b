"""One command goes from a file of series to a published model that forecasts; `evaluate` measures it again."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from service.contract.manifest import load_manifest
from training.__main__ import main
from training.export import ExportedForecaster
from training.interrupt import StopRequest

FLAGS = (
    "--frequency 1h --covariates price --static kind --unit MW --horizon 12 --test-length 4D --validation-length 4D"
    " --hidden-size 8 --lags 1,2,24 --calendar hour_of_day --epochs 3 --bptt-length 24 --batch-size 8 --paths 20"
    " --threads 1 --license CC0-1.0"
)


def write_series(folder: Path, days: int = 24) -> Path:
    """Two series of days with a wave, a covariate, a kind and a few missing hours."""
    random = np.random.default_rng(0)
    rows = ["unique_id,ds,y,price,kind"]
    for name, level in (("north", 100), ("south", 20)):
        for hour in range(24 * days):
            if random.random() < 0.02:
                continue
            price = random.normal(30, 5)
            value = level * (1 + 0.3 * np.sin(hour * np.pi / 12) + 0.01 * random.normal()) + price
            time = np.datetime64("2024-03-01T00:00:00") + np.timedelta64(hour, "h")
            rows.append(f"{name},{time},{value:.3f},{price:.2f},{'big' if level > 50 else 'small'}")
    path = folder / "load.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def run(monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> int:
    monkeypatch.setattr(sys, "argv", ["training", *arguments])
    return main(arguments)


def places(folder: Path) -> list[str]:
    return ["--run-folder", str(folder / "run"), "--models", str(folder / "models"), "--name", "load"]


def test_series_become_a_published_model_that_forecasts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_series(tmp_path)
    assert run(monkeypatch, ["forecaster", "--data", str(data), *FLAGS.split(), *places(tmp_path)]) == 0
    folder = tmp_path / "models" / "load" / "1"
    manifest = load_manifest(folder)
    task = manifest.forecast
    assert task is not None
    assert (manifest.id, manifest.license, task.frequency, task.unit) == ("load/1", "CC0-1.0", "1h", "MW")
    assert (task.future_covariates, task.prediction_length) == (("price",), 12)
    assert [covariate.categories for covariate in task.static_covariates] == [("big", "small")]
    assert str(tmp_path) not in manifest.model_dump_json() and "--data load.csv" in manifest.training.command
    assert {"seasonal_naive_24", "seasonal_naive_168", "naive", "drift"} == manifest.training.baselines.keys()

    model = ExportedForecaster(folder)
    rows = model.initial(np.zeros((1, 1), np.float32))
    known = {"calendar": np.zeros((1, 48, 2), np.float32), "covariates": np.full((1, 48, 1), 30, np.float32)}
    _, pit, rows = model.observe(rows, 100 + np.arange(48, dtype=np.float32)[None], **known)
    assert np.isfinite(pit[0, 1:]).all()
    assert np.isfinite(model.generate(rows, np.full((1, 48), 0.5, np.float32), **known)[0]).all()

    card = (folder / "README.md").read_text(encoding="utf-8")
    for part in ("# load", "| load |", "seasonal naive 24", "Series: north, south.", "(forecasts.png)"):
        assert part in card
    assert manifest.training.data.sha256 in card
    assert str(tmp_path) not in card

    assert main(["export", str(tmp_path / "run"), "--models", str(tmp_path / "models")]) == 0
    assert load_manifest(tmp_path / "models" / "load" / "2").weights == manifest.weights

    capsys.readouterr()
    assert main(["evaluate", str(folder), "--data", str(data), "--test-length", "4D", "--paths", "20"]) == 0
    assert "load/1" in capsys.readouterr().out


def write_plain(folder: Path) -> Path:
    """The same series without covariate and kind."""
    path = folder / "plain.csv"
    rows = write_series(folder).read_text(encoding="utf-8").splitlines()
    path.write_text("".join(",".join(row.split(",")[:3]) + "\n" for row in rows), encoding="utf-8")
    return path


DIRECT_FLAGS = (
    "--frequency 1h --horizon 12 --test-length 4D --validation-length 4D --hidden-size 4 --lags 1,24 --epochs 1"
    " --batch-size 8 --paths 10 --threads 1 --context 48 --direct-hidden-size 8 --direct-steps 30"
)


def test_the_better_decoder_on_validation_is_published_with_all_its_members(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["forecaster", "--data", str(write_plain(tmp_path)), *DIRECT_FLAGS.split(), *places(tmp_path)]
    assert run(monkeypatch, [*arguments, "--decoder", "auto", "--members", "2", "--conformal", "0.02"]) == 0
    assert "chosen: direct, on the validation stretch" in capsys.readouterr().out
    folder = tmp_path / "models" / "load" / "1"
    manifest = load_manifest(folder)
    task = manifest.forecast
    assert task is not None and task.path_correlation is not None and task.anomaly_threshold is not None
    assert (task.prediction_length, task.context_length, task.lags) == (12, 48, (24, 48))
    assert manifest.training.settings["decoder"] == {"decoder": "auto", "members": 2, "chosen": "direct"}
    assert "network" not in manifest.training.settings

    model = ExportedForecaster(folder)
    calendar = np.zeros((1, 60, 2 * len(task.calendar)), np.float32)
    _, _, rows = model.observe(model.initial(), 100 + np.arange(48, dtype=np.float32)[None], calendar[:, :48])
    assert np.isfinite(model.forecast(rows, calendar[:, 48:])).all()
    card = (folder / "README.md").read_text(encoding="utf-8")
    for part in ("2 networks averaged", "ancestral: MASE", "direct: MASE", "told at once", "go together by"):
        assert part in card
    assert main(["export", str(tmp_path / "run"), "--models", str(tmp_path / "models")]) == 0
    assert load_manifest(tmp_path / "models" / "load" / "2").weights == manifest.weights


def test_direct_decoder_of_series_with_covariates_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["forecaster", "--data", str(write_series(tmp_path)), *FLAGS.split(), *places(tmp_path)]
    assert run(monkeypatch, [*arguments, "--decoder", "direct"]) == 1
    assert "decoder direct: expected series without covariates" in " ".join(capsys.readouterr().err.split())


def test_interrupted_run_continues_to_the_same_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_series(tmp_path)
    arguments = ["forecaster", "--data", str(data), *FLAGS.split(), "--no-publish"]
    assert run(monkeypatch, [*arguments, "--run-folder", str(tmp_path / "whole")]) == 0
    assert run(monkeypatch, [*arguments, "--run-folder", str(tmp_path / "again")]) == 0
    (tmp_path / "again" / "result.json").unlink()
    (tmp_path / "again" / "forecaster.pt").unlink()
    assert run(monkeypatch, [*arguments, "--run-folder", str(tmp_path / "again"), "--resume"]) == 0
    whole, again = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("whole", "again"))
    assert whole["metrics"] == again["metrics"]


def test_run_that_is_stopped_says_how_to_go_on_and_ends_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @contextmanager
    def asked() -> Iterator[StopRequest]:
        request = StopRequest()
        request.made = True
        yield request

    arguments = ["forecaster", "--data", str(write_series(tmp_path)), *FLAGS.split(), *places(tmp_path)]
    with monkeypatch.context() as at_once:
        at_once.setattr("training.fit.stop_on_signal", asked)
        assert run(monkeypatch, arguments) == 130
    assert "the same command with --resume continues run" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "models").exists()
    assert run(monkeypatch, [*arguments, "--resume"]) == 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("--frequency 7x", "frequency: expected a count and a unit"),
        ("--lags 0,1", "lags: expected different whole numbers from 1 on"),
        ("--lags one", "lags: expected numbers with commas"),
        ("--calendar week", "calendar: expected some of"),
        ("--quantiles 0.5,0.1,0.9", "quantiles: expected three or more increasing levels"),
        ("--horizon -1", "horizon: expected at least 0"),
        ("--lags 1,5000", "lags: expected them to reach back less than the"),
        ("--name Bad", "name: expected lower-case letters"),
        ("--decay 1.5", "decay: expected above 0"),
        ("--test-length 1W --validation-length 3W", "expected at least 24 steps before validation and test"),
    ],
)
def test_mistakes_are_told_without_a_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], more: str, message: str
) -> None:
    data = write_series(tmp_path)
    assert run(monkeypatch, ["forecaster", "--data", str(data), *FLAGS.split(), *places(tmp_path), *more.split()]) == 1
    assert message in " ".join(capsys.readouterr().err.split())


def test_series_of_zeros_is_published_without_the_metrics_it_leaves_undefined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "zero.csv"
    data.write_text("ds,y\n" + "".join(f"{hour},0\n" for hour in range(200)), encoding="utf-8")
    flags = "--frequency h --horizon 6 --hidden-size 4 --lags 1,2 --epochs 1 --paths 4 --threads 1"
    assert run(monkeypatch, ["forecaster", "--data", str(data), *flags.split(), *places(tmp_path)]) == 0
    folder = tmp_path / "models" / "load" / "1"
    assert "mase" not in load_manifest(folder).training.metrics
    assert "80 % coverage" in (folder / "README.md").read_text(encoding="utf-8")
    assert main(["evaluate", str(folder), "--data", str(data), "--paths", "4"]) == 0


def test_run_folder_that_holds_a_run_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_series(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    (tmp_path / "run" / "checkpoint.pt").touch()
    assert run(monkeypatch, ["forecaster", "--data", str(data), *FLAGS.split(), *places(tmp_path)]) == 1
    assert "expected a new run folder" in " ".join(capsys.readouterr().err.split())


def test_evaluating_something_else_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(tmp_path), "--data", "x.csv"]) == 1
    assert "expected the folder of a published version" in " ".join(capsys.readouterr().err.split())
