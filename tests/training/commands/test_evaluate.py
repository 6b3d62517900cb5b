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
