"""Intervals of a stream widen where they miss and narrow where they need not be so wide, on each side by itself."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from training.networks.conformal import NARROWEST, WIDEST, Array, adjusted, conformal_factors

LEVELS = (0.02, 0.1, 0.5, 0.9, 0.98)
NORMAL = np.array([NormalDist().inv_cdf(level) for level in LEVELS], np.float32)


def told(spread: float, length: int) -> Array:
    return np.broadcast_to(np.float32(spread) * NORMAL, (1, length, len(LEVELS)))


def drawn(length: int) -> Array:
    return np.random.default_rng(0).standard_normal((1, length)).astype(np.float32)


@pytest.mark.parametrize("spread", [0.4, 1.0, 2.5])
def test_intervals_that_were_told_too_narrow_or_too_wide_come_to_cover_what_they_promise(spread: float) -> None:
    values, quantiles = drawn(6000), told(spread, 6000)
    before, _ = conformal_factors(values, quantiles, LEVELS, 0.02)
    shown = adjusted(quantiles, before, LEVELS)[:, 3000:]
    inside = (shown[..., 1] <= values[:, 3000:]) & (values[:, 3000:] <= shown[..., 3])
    assert inside.mean() == pytest.approx(0.8, abs=0.01)
    assert np.median(before[:, 3000:]) == pytest.approx(1 / spread, rel=0.15)


def test_each_side_adapts_by_itself() -> None:
    values = np.abs(drawn(3000)) * 3  # never below the median
    _, after = conformal_factors(values, told(1.0, 3000), LEVELS, 0.02)
    assert after[0, 0] == np.float32(NARROWEST) and after[0, 1] > 2


def test_factors_stay_within_bounds() -> None:
    _, after = conformal_factors(np.full((1, 500), 1e12, np.float32), told(1.0, 500), LEVELS, 0.5)
    assert after.tolist() == [[np.float32(NARROWEST), WIDEST]]


def test_a_missing_value_or_prediction_changes_nothing() -> None:
    values, quantiles = drawn(4), told(1.0, 4).copy()
    values[0, 1], quantiles[0, 2] = np.nan, np.nan
    before, _ = conformal_factors(values, quantiles, LEVELS, 0.1)
    np.testing.assert_array_equal(before[0, 1:3], before[0, 2:4])
    assert (before[0, 1] != 1).all()


def test_the_median_stays_and_the_order_is_kept() -> None:
    factors = np.array([0.25, 4], np.float32)
    found = adjusted(3 + NORMAL, factors, LEVELS)
    assert found[2] == 3 and (np.diff(found) > 0).all()
    np.testing.assert_allclose(found[3:] - 3, 4 * NORMAL[3:], rtol=1e-5)
    np.testing.assert_allclose(found[:2] - 3, NORMAL[:2] / 4, rtol=1e-5)
