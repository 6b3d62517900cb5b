"""Each window's network is trained by the recorded settings on what came before the window, and on nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from service.contract.frequency import Frequency
from service.contract.manifest import load_manifest
from training.data.alignment import AlignedSeries, Split, align_ends
from training.data.series import SeriesSet
from training.errors import TrainingError
from training.forecaster_settings import ForecasterFitSettings
from training.refit_forecaster import (
    _read,
    _trained_and_tested,
    _Window,
    refitted_backtest,
    series_before,
    split_before,
)

MELBOURNE = Path(__file__).parents[2] / "models" / "melbourne-temperature" / "1"
HORIZON = 7


def some_series(length: int = 300) -> SeriesSet:
    random = np.random.default_rng(0)
    target = (20 + random.normal(size=(2, length))).astype(np.float32)
    target[1, :30] = target[1, -4:] = np.nan
    first = np.datetime64("2001-01-01", "s")
    return SeriesSet("file.csv", "0" * 64, ("a", "b"), Frequency.parse("1D"), first, target)


def small_settings() -> dict[str, Any]:
    """What the bundled model's manifest records, with a network and a training of no size."""
    recorded = load_manifest(MELBOURNE).training.settings
    small: dict[str, dict[str, Any]] = {
        "data": {"validation_length": "28"},
        "network": {"hidden_size": 3, "lags": [1, 7]},
        "evaluation": {"horizon": HORIZON, "paths": 4},
        "fit": {"epochs": 1},
    }
    return {group: values | small.get(group, {}) for group, values in recorded.items()}


def window(series: SeriesSet, aligned: AlignedSeries, origin: int) -> _Window:
    past, settings = series_before(series, origin), small_settings()
    return _Window(settings, past, split_before(past, settings), aligned, origin, HORIZON, 4, 0, False)


def aligned_with_calendar(series: SeriesSet) -> AlignedSeries:
    task = load_manifest(MELBOURNE).forecast
    assert task is not None
    return align_ends(series, task.calendar, ahead=HORIZON)


def test_what_is_left_out_is_the_end_of_each_series() -> None:
    series = some_series(80)
    before = series_before(series, 70)
    assert before.length == 70 and before.begins.tolist() == [0, 30] and before.ends.tolist() == [70, 66]
    np.testing.assert_array_equal(before.target[0], series.target[0, :70])
    assert before.first == series.first and before.ids == series.ids


def test_covariates_end_where_the_values_do() -> None:
    series = replace(some_series(40), covariates=np.ones((2, 40, 1), np.float32), covariate_names=("price",))
    covariates = series_before(series, 30).covariates
    assert covariates is not None and covariates.shape == (2, 30, 1)


def test_validation_is_the_last_stretch_and_nothing_is_kept_for_a_test() -> None:
    assert split_before(some_series(), small_settings()) == Split(300 - 28, 300, 300)


def test_settings_of_earlier_versions_have_the_defaults_of_this_one() -> None:
    found = _read(ForecasterFitSettings, {"epochs": 3, "a_setting_that_is_gone": 1})
    assert found == ForecasterFitSettings(epochs=3)


def test_a_window_is_forecast_by_what_came_before_it() -> None:
    series = some_series()
    changed = replace(series, target=np.where(np.arange(300) < 280, series.target, np.float32(1e4)))
    changed.target[1, -4:] = np.nan
    one, other = (_trained_and_tested(window(some, aligned_with_calendar(some), 280)) for some in (series, changed))
    np.testing.assert_array_equal(one.forecasts.quantiles, other.forecasts.quantiles)
    assert one.forecasts.quantiles.shape == (2, 1, HORIZON, 11) and np.isfinite(one.forecasts.quantiles).all()
    assert not np.array_equal(one.forecasts.actual, other.forecasts.actual)


def test_windows_are_trained_in_processes_of_their_own() -> None:
    series, shares = some_series(), list[float]()
    aligned = aligned_with_calendar(series)
    found = refitted_backtest(
        small_settings(), series, aligned, np.array([280, 290]), HORIZON, 4, advanced=shares.append
    )
    alone = _trained_and_tested(window(series, aligned, 290))
    np.testing.assert_array_equal(found.forecasts.quantiles[:, 1:], alone.forecasts.quantiles)
    assert found.pit.shape == (2, 17) and np.isnan(found.pit[:, 7:10]).all() and shares == [0.5, 1]


def test_too_short_a_past_is_named() -> None:
    series = some_series(60)
    with pytest.raises(TrainingError, match="series 'b': expected at least"):
        refitted_backtest(small_settings(), series, aligned_with_calendar(series), np.array([50]), HORIZON, 4)
