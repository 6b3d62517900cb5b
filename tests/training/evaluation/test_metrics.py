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
    msis,
    normalised_deviation,
    owa,
    quantile_losses,
    scaled_quantile_loss,
    seasonal_error,
    seasonal_errors_at,
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


def test_scaled_quantile_loss_of_a_point_is_its_mase() -> None:
    point = forecasts([[10, 12], [100, 90]], [[[11] * 3] * 2, [[120] * 3] * 2])
    scales = np.array([2.0, 40.0])
    assert scaled_quantile_loss(point, scales) == pytest.approx(mase(point, scales))


def test_scaled_quantile_loss_is_in_units_of_each_series() -> None:
    found = forecasts([[10.0]], [[[8, 9, 14]]])
    by_level = [2 * 0.1 * 2, 2 * 0.5 * 1, 2 * 0.1 * 4]
    assert scaled_quantile_loss(found, np.array([4.0])) == pytest.approx(np.mean(by_level) / 4)


def test_losses_are_taken_over_the_deciles_alone() -> None:
    found = Forecasts(np.array([[[10.0]]]), np.array([[[[-99.0, 8, 9, 14, 99]]]]), (0.025, 0.1, 0.5, 0.9, 0.975))
    assert quantile_losses(found).shape == (1, 1, 1, 3)
    assert mean_weighted_quantile_loss(found) == mean_weighted_quantile_loss(found.only((0.1, 0.5, 0.9)))


def test_interval_score_is_the_width_and_a_fine_for_each_value_outside() -> None:
    found = forecasts([[10, 20, NAN]], [[[8, 9, 14], [25, 26, 27], [0, 0, 99]]])
    alpha = 0.2
    assert msis(found, np.array([2.0]), 0.1, 0.9) == pytest.approx(
        ((14 - 8) + (27 - 25) + 2 / alpha * (25 - 20)) / 2 / 2
    )


def test_deviation_is_over_the_size_of_the_values() -> None:
    assert normalised_deviation(forecasts([[10, -20]], [[[0, 11, 0], [0, -24, 0]]])) == pytest.approx(5 / 30)
    assert np.isnan(normalised_deviation(forecasts([[0.0]], [[[-1, 0, 1]]])))


def test_overall_average_of_naive_2_is_one() -> None:
    naive = {"smape": 18.4, "mase": 2.4}
    assert owa(naive, naive) == 1
    assert owa({"smape": 9.2, "mase": 3.6}, naive) == pytest.approx((0.5 + 1.5) / 2)


def test_each_origin_may_be_scaled_by_its_own_past() -> None:
    values = np.array([[0, 1, 0, 1, 5, 1]], float)
    scales = seasonal_errors_at(values, np.array([3, 5]), 1)
    np.testing.assert_allclose(scales, [[1, (1 + 1 + 1 + 4) / 4]])
    found = Forecasts(np.array([[[3.0], [7.0]]]), np.zeros((1, 2, 1, 3)), (0.1, 0.5, 0.9))
    assert mase(found, scales) == pytest.approx((3 / 1 + 7 / 1.75) / 2)


def test_interval_score_needs_the_ends_of_its_interval() -> None:
    assert "msis" not in forecast_metrics(forecasts([[1.0]], [[[0, 1, 2]]]), np.ones(1))
    found = Forecasts(np.ones((1, 1, 1)), np.ones((1, 1, 1, 5)), (0.025, 0.1, 0.5, 0.9, 0.975))
    assert forecast_metrics(found, np.ones(1))["msis"] == 0
