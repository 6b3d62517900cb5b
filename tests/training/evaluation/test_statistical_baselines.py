"""Automatic statistical models against series whose future is known, and against what they cannot fit."""

from __future__ import annotations

import sys

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("statsforecast")

from training.errors import TrainingError
from training.evaluation.baselines import seasonal_naive
from training.evaluation.metrics import MEASURED_LEVELS, Array, coverage
from training.evaluation.statistical_baselines import STATISTICAL, Statistical, statistical_forecasts

NAN = np.nan


def seasonal_series(count: int, length: int, season: int) -> Array:
    random = np.random.default_rng(0)
    waves = 100 + 20 * np.sin(2 * np.pi * np.arange(length) / season)
    return np.asarray(waves + random.normal(size=(count, length)))


@pytest.mark.parametrize("name", STATISTICAL)
def test_season_is_foretold_and_intervals_cover(name: Statistical) -> None:
    values = seasonal_series(1, 120, 4)
    origins = np.array([80, 88, 96, 104])
    found, failed = statistical_forecasts(name, values, origins, 8, 4)
    assert failed == 0 and found.levels == MEASURED_LEVELS
    assert np.abs(found.at(0.5) - found.actual).mean() < 2
    assert (np.diff(found.quantiles) >= 0).all()
    assert coverage(found, 0.025, 0.975) > 0.8


def test_exponential_smoothing_may_be_made_to_take_a_season() -> None:
    steps = np.arange(24 * 12)
    walk = np.random.default_rng(1).normal(scale=0.3, size=len(steps)).cumsum()
    values = (50 + walk + 10 * np.sin(2 * np.pi * steps / 24))[None]
    free, seasonal = (
        statistical_forecasts(name, values, np.array([260]), 24, 24)[0] for name in ("AutoETS", "AutoETS_seasonal")
    )
    error, error_with_season = (float(np.abs(found.at(0.5) - found.actual).mean()) for found in (free, seasonal))
    assert error_with_season < 3 and error_with_season <= error
    short, failed = statistical_forecasts("AutoETS_seasonal", values[:, :40], np.array([30]), 4, 24)
    assert failed == 0 and np.isfinite(short.quantiles).all()


def test_without_refit_parameters_stay_and_values_go_on() -> None:
    values = seasonal_series(2, 100, 4)
    origins = np.array([60, 80])
    anew, _ = statistical_forecasts("AutoETS", values, origins, 4, 4)
    once, _ = statistical_forecasts("AutoETS", values, origins, 4, 4, refit=False)
    np.testing.assert_array_equal(once.quantiles[:, 0], anew.quantiles[:, 0])
    assert not np.array_equal(once.quantiles[:, 1], anew.quantiles[:, 1])
    assert np.abs(once.at(0.5) - once.actual).mean() < 3


def test_nothing_after_an_origin_is_seen() -> None:
    values = seasonal_series(1, 100, 4)
    changed = values.copy()
    changed[:, 80:] = 999
    origins = np.array([60, 80])
    for refit in (True, False):
        one, other = (
            statistical_forecasts("AutoTheta", series, origins, 4, 4, refit=refit)[0] for series in (values, changed)
        )
        np.testing.assert_array_equal(one.quantiles, other.quantiles)


def test_gaps_are_filled_and_a_late_begin_is_no_gap() -> None:
    values = seasonal_series(1, 80, 4)
    values[0, :10] = values[0, 30:33] = values[0, 61] = NAN
    found, failed = statistical_forecasts("AutoETS", values, np.array([62]), 4, 4)
    assert failed == 0 and np.abs(found.at(0.5) - found.actual).max() < 5


def test_what_cannot_be_fitted_is_the_seasonal_naive_and_is_counted() -> None:
    values = np.array([[NAN, NAN, NAN, 7, 8, 9, 9, 9]])
    origins = np.array([4, 5])
    found, failed = statistical_forecasts("AutoETS", values, origins, 3, 4)
    assert failed == 2
    expected = [seasonal_naive(values, origins[place : place + 1], 3, 4).quantiles[:, 0] for place in range(2)]
    np.testing.assert_array_equal(found.quantiles, np.stack(expected, axis=1))


@pytest.mark.parametrize("value", [0.0, 5.0, -3.0])
def test_constant_series_stay_constant(value: float) -> None:
    for name in STATISTICAL:
        found, _ = statistical_forecasts(name, np.full((1, 60), value), np.array([50]), 3, 7)
        np.testing.assert_allclose(found.at(0.5), value, atol=1e-3)


def test_processes_change_no_forecast() -> None:
    values, origins, shares = seasonal_series(2, 90, 4), np.arange(60, 84, 2), list[float]()
    one, _ = statistical_forecasts("AutoTheta", values, origins, 4, 4)
    two, _ = statistical_forecasts("AutoTheta", values, origins, 4, 4, jobs=2, advanced=shares.append)
    np.testing.assert_array_equal(one.quantiles, two.quantiles)
    assert shares[-1] == 1


def test_absent_package_is_named_with_the_way_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "statsforecast", None)
    with pytest.raises(TrainingError, match=r"AutoETS: .*pip install 'unroll\[statistics\]'"):
        statistical_forecasts("AutoETS", np.ones((1, 9)), np.array([5]), 2, 1)
