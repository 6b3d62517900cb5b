from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from service.errors import InputMismatch, RequestTooLarge
from service.tasks.forecast_request import PATHS, ForecastRequest, bounds_of
from service.tasks.limits import TaskLimits

LIMITS = TaskLimits(max_horizon=10, max_samples=5)


def test_what_is_asked_within_the_bounds_passes() -> None:
    ForecastRequest(10, quantiles=[0.01, 0.5], levels=[0.8], samples=5, aggregate=["sum", "max"]).check(LIMITS)
    ForecastRequest(1).check(LIMITS)


@pytest.mark.parametrize(("horizon", "samples"), [(11, None), (1, 6)])
def test_what_is_past_a_bound_is_refused(horizon: int, samples: int | None) -> None:
    with pytest.raises(RequestTooLarge, match="expected at most"):
        ForecastRequest(horizon, samples=samples).check(LIMITS)


@pytest.mark.parametrize(
    "asked",
    [
        {"horizon": 0},
        {"samples": 0},
        {"quantiles": [0.5, 0.0]},
        {"quantiles": [1.0]},
        {"quantiles": [-0.1]},
        {"quantiles": [np.nan]},
        {"levels": [0.0]},
        {"levels": [80]},
        {"aggregate": ["median"]},
    ],
)
def test_what_cannot_be_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(InputMismatch, match="expected"):
        ForecastRequest(**{"horizon": 1, **asked}).check(LIMITS)


def test_the_samples_of_many_series_have_one_bound_together() -> None:
    asked = ForecastRequest(10, samples=5)
    asked.check(LIMITS, forecasts=1)
    with pytest.raises(RequestTooLarge, match="samples: expected at most 50 values in all, got 100"):
        asked.check(LIMITS, forecasts=2)


def test_unasked_paths_have_a_fixed_number() -> None:
    assert ForecastRequest(1).paths == PATHS and not ForecastRequest(1).needs_paths
    assert ForecastRequest(1, samples=3).paths == 3 and ForecastRequest(1, samples=3).needs_paths
    assert ForecastRequest(1, aggregate=["sum"]).paths == PATHS and ForecastRequest(1, aggregate=["sum"]).needs_paths


def test_an_interval_has_the_quantile_levels_one_would_write() -> None:
    assert bounds_of(0.8) == (0.1, 0.9) and bounds_of(0.95) == (0.025, 0.975) and bounds_of(0.6) == (0.2, 0.8)


def test_what_is_told_of_each_step_has_a_bound() -> None:
    levels = [(index + 1) / 101 for index in range(100)]
    ForecastRequest(1, quantiles=levels[1:], levels=levels[1:]).check(LIMITS)
    for asked in (ForecastRequest(1, quantiles=levels), ForecastRequest(1, levels=levels)):
        with pytest.raises(RequestTooLarge, match="expected at most 99 levels, got 100"):
            asked.check(LIMITS)


@pytest.mark.parametrize("level", [1 - 1e-13, np.nextafter(1, 0), 5e-324])
def test_the_bounds_of_any_interval_are_quantile_levels(level: float) -> None:
    lower, upper = bounds_of(level)
    assert 0 < lower <= 0.5 <= upper < 1
