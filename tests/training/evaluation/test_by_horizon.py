"""Error, width and coverage at each step ahead, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from training.evaluation.by_horizon import (
    coverage_by_horizon,
    mase_by_horizon,
    scaled_quantile_loss_by_horizon,
    width_by_horizon,
)
from training.evaluation.metrics import Forecasts, mase, scaled_quantile_loss, seasonal_errors_at

NAN = np.nan
QUANTILES = np.tile([8.0, 10, 13], (2, 1, 3, 1))
FOUND = Forecasts(np.array([[[9, 20, NAN]], [[10, 12, NAN]]]), QUANTILES, (0.1, 0.5, 0.9))


def test_each_step_counts_the_series_that_were_observed() -> None:
    np.testing.assert_array_equal(coverage_by_horizon(FOUND), [1, 0.5, NAN])


def test_error_and_width_are_in_units_of_each_series() -> None:
    scales = np.array([1.0, 2.0])
    np.testing.assert_allclose(mase_by_horizon(FOUND, scales), [0.5, (10 + 1) / 2, NAN])
    np.testing.assert_allclose(width_by_horizon(FOUND, scales), [3.75] * 3)


def test_series_without_a_unit_are_left_out() -> None:
    np.testing.assert_allclose(mase_by_horizon(FOUND, np.array([0.0, 2.0])), [0, 1, NAN])


def test_their_mean_is_the_metric_of_the_whole_horizon() -> None:
    random = np.random.default_rng(0)
    target = random.normal(size=(3, 60)).cumsum(axis=1)
    origins = np.array([30, 40])
    actual = np.stack([target[:, origin : origin + 5] for origin in origins], axis=1)
    found = Forecasts(actual, np.sort(random.normal(size=(3, 2, 5, 3)), axis=-1), (0.1, 0.5, 0.9))
    scales = seasonal_errors_at(target, origins, 7)
    assert mase_by_horizon(found, scales).mean() == pytest.approx(mase(found, scales))
    assert scaled_quantile_loss_by_horizon(found, scales).mean() == pytest.approx(scaled_quantile_loss(found, scales))
