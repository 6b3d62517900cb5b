"""A published forecaster is measured on a file it may never have seen, whose static categories it may not know."""

from __future__ import annotations

import os
import signal
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

pytest.importorskip("torch")

from service.contract.frequency import Frequency
from service.contract.manifest import StaticCovariate, load_manifest
from training.__main__ import main
from training.data.series import SeriesSet
from training.data.static import static_as_trained
from training.errors import TrainingError
from training.export import ExportedForecaster

MODELS = Path(__file__).parents[3] / "models"


def series_of_kinds(kind: StaticCovariate, values: list[float]) -> SeriesSet:
    target = np.ones((len(values), 4), np.float32)
    static = np.array(values, np.float32)[:, None]
    ids = tuple(str(n) for n in range(len(values)))
    return SeriesSet(
        "file.csv", "0" * 64, ids, Frequency.parse("1h"), None, target, static_covariates=(kind,), static=static
    )


def test_categories_are_numbered_as_the_model_has_them() -> None:
    here = series_of_kinds(StaticCovariate(name="kind", categories=("moon", "north", "south")), [2, 0, 1, -1])
    known = (StaticCovariate(name="kind", categories=("south", "north")),)
    found = static_as_trained(here, known)
    assert found is not None and found[:, 0].tolist() == [0, -1, 1, -1]


def test_numbers_stay_and_are_not_taken_for_categories() -> None:
    here = series_of_kinds(StaticCovariate(name="size"), [2.5, np.nan])
    found = static_as_trained(here, (StaticCovariate(name="size"),))
    np.testing.assert_array_equal(found, [[2.5], [np.nan]])
    with pytest.raises(TrainingError, match="static size: expected categories as in training, got numbers"):
        static_as_trained(here, (StaticCovariate(name="size", categories=("big",)),))


def test_table_has_the_model_beside_every_baseline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = MODELS / "melbourne-temperature" / "1"
    day, random = np.datetime64("2001-01-01"), np.random.default_rng(0)
    rows = [f"{day + n},{11 - 4 * np.cos(n / 58) + random.normal():.1f}\n" for n in range(800)]
    data = tmp_path / "elsewhere.csv"
    data.write_text("ds,y\n" + "".join(rows), encoding="utf-8")
    assert main(["evaluate", str(folder), "--data", str(data), "--test-length", "4W", "--paths", "4"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    task = load_manifest(folder).forecast
    assert task is not None and task.prediction_length == 7
    for part in ("melbourne", "seasonal naive 7", "drift", "MASE"):
        assert part in shown


def temperatures(folder: Path, days: int = 400) -> Path:
    day, random = np.datetime64("2001-01-01"), np.random.default_rng(0)
    rows = [f"{name},{day + n},{random.normal():.1f}\n" for name in ("north", "south") for n in range(days)]
    data = folder / "daily.csv"
    data.write_text("unique_id,ds,y\n" + "".join(rows), encoding="utf-8")
    return data


def test_folder_holds_table_plots_and_every_forecast(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = MODELS / "melbourne-temperature" / "1", tmp_path / "report"
    arguments = ["--data", str(temperatures(tmp_path)), "--windows", "3", "--stride", "5", "--paths", "4"]
    assert main(["evaluate", str(folder), "seasonal_naive_365", *arguments, "--output", str(out)]) == 0
    assert "written to" in capsys.readouterr().out

    text = (out / "README.md").read_text(encoding="utf-8")
    for part in ("2 series, 3 windows, 7 steps ahead, every 5 steps", "| SQL | MSIS |", "- naive: the last value."):
        assert part in text
    assert str(tmp_path) not in text
    drawn = {path.name for path in out.glob("*.png")}
    name = load_manifest(folder).id.replace("/", "-")
    assert drawn == {"error.png", "coverage.png", f"forecasts-{name}.png", "forecasts-seasonal_naive_365.png"}

    metrics = pl.read_csv(out / "metrics.csv")
    assert metrics["model"].to_list()[1:3] == ["seasonal_naive_365", "seasonal_naive_7"]
    assert pl.read_csv(out / "by_horizon.csv").filter(pl.col("model") == "naive")["step"].to_list() == list(range(1, 8))
    forecasts = pl.read_parquet(out / "forecasts.parquet").filter(pl.col("model") == "naive")
    assert len(forecasts) == 2 * 3 * 7
    last = forecasts.filter(pl.col("unique_id") == "south").tail(7)
    assert last["cutoff"].unique().to_list() == [datetime(2002, 1, 28)]
    assert last["ds"].to_list() == [datetime(2002, 1, 28) + timedelta(days=n) for n in range(1, 8)]


def test_baselines_are_measured_alone_at_a_frequency_that_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(temperatures(tmp_path))
    assert main(["evaluate", "naive_2", "--data", data, "--frequency", "D", "--horizon", "3", "--windows", "2"]) == 0
    shown = capsys.readouterr().out
    assert "naive 2" in shown and "seasonal naive 7" in shown
    assert main(["evaluate", "naive_2", "--data", data]) == 1
    assert "expected --frequency" in capsys.readouterr().err


def test_interrupted_evaluation_says_how_far_it_came_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    observe = ExportedForecaster.observe

    def interrupted(*arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return observe(*arguments)

    monkeypatch.setattr(ExportedForecaster, "observe", interrupted)
    arguments = ["--data", str(temperatures(tmp_path)), "--windows", "3", "--paths", "4"]
    folder = MODELS / "melbourne-temperature" / "1"
    assert main(["evaluate", str(folder), *arguments, "--output", str(tmp_path / "report")]) == 130
    assert "stopped after 1 of 3 parts of melbourne-temperature/1; nothing was written" in capsys.readouterr().err
    assert not (tmp_path / "report").exists()


def test_what_is_neither_a_folder_nor_a_baseline_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "prophet", "--data", "x.csv"]) == 1
    assert "expected the folder of a published version, or a baseline such as AutoETS" in capsys.readouterr().err
    assert main(["evaluate", "naive", str(MODELS / "surnames" / "1"), "--data", "x.csv"]) == 1
    assert "surnames/1: expected forecasters and baselines, got one for classify" in capsys.readouterr().err


def test_text_model_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(MODELS / "shakespeare" / "1"), "--data", "x.csv"]) == 1
    assert "shakespeare/1: expected a forecaster or a classifier, got one for text" in capsys.readouterr().err


def some_surnames(folder: Path, *labels: str) -> Path:
    folder.mkdir()
    for label in labels:
        (folder / f"{label}.txt").write_text("Ivanov\nPetrov\nSidorov\n" if label == "Russian" else "Smith\n", "utf-8")
    return folder


def test_a_classifier_is_measured_on_the_classes_that_occur_and_says_which_files_hold_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = some_surnames(tmp_path / "names", "Russian", "English")
    (data / "Polish.txt").touch()
    assert main(["evaluate", str(MODELS / "surnames" / "1"), "--data", str(data)]) == 0
    shown = capsys.readouterr().out
    assert next(line.split() for line in shown.splitlines() if "surnames/1" in line)[1:3] == ["1", "1"]
    assert "majority class" in shown and "note: Polish holds nothing" in shown
    assert "was trained on" not in shown  # of other data, nothing is known


def test_options_of_forecasters_are_refused_by_name_for_a_classifier(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = some_surnames(tmp_path / "names", "Russian", "English")
    assert main(["evaluate", str(MODELS / "surnames" / "1"), "--data", str(data), "--test-length", "4W"]) == 1
    assert "--test-length: expected with a forecaster; surnames/1 is a classifier" in capsys.readouterr().err


def test_of_many_unknown_classes_the_first_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = some_surnames(tmp_path / "names", *"ABCDEF", "Russian")
    assert main(["evaluate", str(MODELS / "surnames" / "1"), "--data", str(data)]) == 1
    assert "got A, B, C, D, E, …" in " ".join(capsys.readouterr().err.split())
