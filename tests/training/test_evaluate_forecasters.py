"""All that is compared is measured on the same windows, at the frequency that the models agree on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from service.contract.frequency import Frequency
from service.contract.manifest import Manifest, StaticCovariate, load_manifest
from training.data.series import SeriesSet
from training.errors import TrainingError
from training.evaluate_forecasters import Subject, _with_season, common_frequency, origins_of
from training.evaluate_settings import BacktestSettings

MODELS = Path(__file__).parents[2] / "models"


def published(name: str) -> Subject:
    manifest = load_manifest(MODELS / name / "1")
    return Subject(manifest.id, MODELS / name / "1", manifest)


def without_frequency() -> Subject:
    subject = published("pjm-load")
    assert subject.manifest is not None and subject.task is not None
    task = subject.task.model_copy(update={"frequency": None})
    manifest: Manifest = subject.manifest.model_copy(update={"forecast": task})
    return Subject("any/1", subject.folder, manifest)


def series_of_lengths(*lengths: int) -> SeriesSet:
    longest = max(lengths)
    target = np.ones((len(lengths), longest), np.float32)
    for row, length in enumerate(lengths):
        target[row, : longest - length] = np.nan
    ids = tuple(f"series {n}" for n in range(len(lengths)))
    return SeriesSet("file.csv", "0" * 64, ids, Frequency.parse("1h"), None, target)


def test_windows_end_with_the_series() -> None:
    series = series_of_lengths(100)
    assert origins_of(series, BacktestSettings(windows=3), 10, 10).tolist() == [70, 80, 90]
    assert origins_of(series, BacktestSettings(windows=3), 10, 4).tolist() == [82, 86, 90]
    assert origins_of(series, BacktestSettings(windows=1), 10, 4).tolist() == [90]


def test_test_length_says_where_the_first_window_begins() -> None:
    assert origins_of(series_of_lengths(100), BacktestSettings(test_length="25"), 10, 5).tolist() == [75, 80, 85, 90]


def test_a_series_that_begins_after_the_first_window_is_named() -> None:
    assert origins_of(series_of_lengths(100, 31), BacktestSettings(windows=3), 10, 10)[0] == 70
    with pytest.raises(TrainingError, match="series 'series 1': expected more than the 30 steps that 3 windows take"):
        origins_of(series_of_lengths(100, 30), BacktestSettings(windows=3), 10, 10)


def test_windows_and_test_length_exclude_each_other() -> None:
    with pytest.raises(TrainingError, match="--windows and --test-length: expected one of them"):
        BacktestSettings(windows=3, test_length="4W")


def test_frequency_is_that_of_the_models() -> None:
    assert common_frequency([Subject("naive"), published("pjm-load")], None) == Frequency.parse("1h")
    assert common_frequency([without_frequency(), published("pjm-load")], None) == Frequency.parse("1h")
    assert common_frequency([without_frequency()], "15min") == Frequency.parse("15min")


def test_frequencies_that_differ_or_are_not_told_are_refused() -> None:
    with pytest.raises(TrainingError, match="melbourne-temperature/1: expected one for values every 1h, got .* 1D"):
        common_frequency([published("pjm-load"), published("melbourne-temperature")], None)
    with pytest.raises(TrainingError, match="pjm-load/1: expected one for values every 1D, got one for every 1h"):
        common_frequency([published("pjm-load")], "D")
    for subject in (Subject("naive"), without_frequency()):
        with pytest.raises(TrainingError, match="expected --frequency, such as 1h or D"):
            common_frequency([subject], None)
    with pytest.raises(TrainingError, match="frequency: expected a count and a unit"):
        common_frequency([Subject("naive")], "often")


def test_a_model_that_may_be_told_its_season_is_told_the_usual_one() -> None:
    covariates = (StaticCovariate(name="size"), StaticCovariate(name="season"))
    unknown = np.full((2, 2), np.nan, np.float32)
    found = _with_season(unknown.copy(), covariates, Frequency.parse("1h"))
    np.testing.assert_array_equal(found, [[np.nan, 24]] * 2)
    np.testing.assert_array_equal(_with_season(unknown.copy(), covariates, Frequency.parse("Y")), unknown)
    np.testing.assert_array_equal(_with_season(unknown.copy(), covariates[:1], Frequency.parse("1h")), unknown)
    assert _with_season(None, (), Frequency.parse("1h")) is None
