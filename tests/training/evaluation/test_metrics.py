"""Metrics against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from training.evaluation.metrics import (
    Forecasts,
    coverage,
    coverage_by_level,
    coverage_one_step,
    forecast_metrics,
    mase,
    mean_weighted_quantile_loss,
    seasonal_error,
    smape,
)

NAN = np.nan


def forecasts(actual: list[list[float]], quantiles: list[list[list[float]]]) -> Forecasts:
    """One origin: actual (N, P), and quantiles (N, P, 3) at 0.1, 0.5 and 0.9."""
    return Forecasts(np.array(actual)[:, None], np.array(quantiles)[:, None], (0.1, 0.5, 0.9))


def test_seasonal_error_is_the_mean_difference_one_season_apart() -> None:
    assert seasonal_error([[1, 5, 2, 9, 6, 9]], 2).tolist() == [pytest.approx((1 + 4 + 4 + 0) / 4)]


def test_seasonal_error_of_a_short_series_is_one_step_apart() -> None:
    assert seasonal_error([[NAN, NAN, 1, 4, NAN]], 2).tolist() == [3]


def test_seasonal_error_passes_over_missing_values() -> None:
    assert seasonal_error([[1, NAN, 3, 7]], 1).tolist() == [4]


def test_mase_is_averaged_over_series_in_their_own_units() -> None:
    found = forecasts([[10, 12], [100, 100]], [[[0, 11, 99]] * 2, [[0, 120, 999]] * 2])
    assert mase(found, np.array([2.0, 40.0])) == pytest.approx((0.5 + 0.5) / 2)


def test_mase_leaves_out_series_without_a_unit_or_without_values() -> None:
    found = forecasts([[10.0], [5.0], [NAN]], [[[0, 11, 99]]] * 3)
    assert mase(found, np.array([2.0, 0.0, 1.0])) == pytest.approx(0.5)
    assert np.isnan(mase(found, np.zeros(3)))


def test_smape_is_in_percent_and_nothing_for_nothing_is_no_error() -> None:
    assert smape(forecasts([[100, 0, NAN]], [[[0, 50, 99], [0, 0, 0], [0, 1, 2]]])) == pytest.approx(
        (200 * 50 / 150 + 0) / 2
    )


def test_weighted_quantile_loss_is_the_pinball_loss_twice_over_the_size_of_values() -> None:
    found = forecasts([[10.0]], [[[8, 9, 14]]])
    by_level = [2 * 0.1 * 2, 2 * 0.5 * 1, 2 * 0.1 * 4]
    assert mean_weighted_quantile_loss(found) == pytest.approx(np.mean(by_level) / 10)


def test_weighted_quantile_loss_of_nothing_but_zeros_is_undefined() -> None:
    assert np.isnan(mean_weighted_quantile_loss(forecasts([[0.0, 0.0]], [[[-1, 0, 1]] * 2])))


def test_missing_values_are_in_no_metric() -> None:
    whole = forecasts([[10, 20]], [[[8, 9, 14], [18, 19, 25]]])
    more = forecasts([[10, 20, NAN]], [[[8, 9, 14], [18, 19, 25], [0, 0, 0]]])
    assert forecast_metrics(more, np.ones(1)) == pytest.approx(forecast_metrics(whole, np.ones(1)))


def test_coverage_counts_both_ends() -> None:
    found = forecasts([[1, 2, 3, 4, NAN]], [[[2, 2.5, 3]] * 5])
    assert coverage(found, 0.1, 0.9) == 0.5
    assert coverage_by_level(found) == {0.1: 0.5, 0.5: 0.5, 0.9: 0.75}


def test_coverage_one_step_ahead_comes_from_the_transform() -> None:
    assert coverage_one_step([0.05, 0.1, 0.5, 0.95, NAN], 0.1, 0.9) == 0.5
