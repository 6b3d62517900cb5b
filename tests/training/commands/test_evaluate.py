"""A published forecaster is measured on a file it may never have seen, whose static categories it may not know."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from service.contract.frequency import Frequency
from service.contract.manifest import StaticCovariate, load_manifest
from training.__main__ import main
from training.commands.evaluate import _static_of_the_model
from training.data.series import SeriesSet
from training.errors import TrainingError

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
    found = _static_of_the_model(here, known)
    assert found is not None and found[:, 0].tolist() == [0, -1, 1, -1]


def test_numbers_stay_and_are_not_taken_for_categories() -> None:
    here = series_of_kinds(StaticCovariate(name="size"), [2.5, np.nan])
    found = _static_of_the_model(here, (StaticCovariate(name="size"),))
    np.testing.assert_array_equal(found, [[2.5], [np.nan]])
    with pytest.raises(TrainingError, match="static size: expected categories as in training, got numbers"):
        _static_of_the_model(here, (StaticCovariate(name="size", categories=("big",)),))


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
    assert next(line.split() for line in shown.splitlines() if "surnames/1" in line)[3:6:2] == ["1", "1"]
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
