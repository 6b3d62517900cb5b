"""Baselines against series whose future is obvious, and against looking ahead."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from training.evaluation.baselines import actual_values, drift, naive_2, seasonal_naive
from training.evaluation.metrics import coverage

NAN = np.nan


def test_actual_values_are_missing_beyond_the_end() -> None:
    found = actual_values([[1.0, 2, 3]], np.array([1, 2]), 2)
    np.testing.assert_array_equal(found, [[[2, 3], [3, NAN]]])


def test_seasonal_naive_repeats_the_last_season() -> None:
    found = seasonal_naive([[1.0, 2, 3, 4, 5, 6, 7, 8, 9, 10]], np.array([6]), 4, 3)
    np.testing.assert_array_equal(found.at(0.5)[0, 0], [4, 5, 6, 4])


def test_season_of_one_is_the_last_value() -> None:
    found = seasonal_naive([[1.0, 2, 3, 9]], np.array([3]), 1, 1)
    assert found.at(0.5).tolist() == [[[3]]]


def test_missing_value_is_taken_from_a_season_earlier() -> None:
    found = seasonal_naive([[1.0, 2, NAN, 4, 0, 0]], np.array([4]), 2, 2)
    np.testing.assert_array_equal(found.at(0.5)[0, 0], [1, 4])


def test_value_that_no_season_holds_is_the_last_before_the_origin() -> None:
    found = seasonal_naive([[NAN, NAN, NAN, 7, 8, 0, 0, 0]], np.array([5]), 3, 4)
    np.testing.assert_array_equal(found.at(0.5)[0, 0], [8, 8, 7])
    assert np.isnan(seasonal_naive([[NAN, NAN, 3.0]], np.array([1]), 2, 1).at(0.5)).all()


def test_spread_grows_with_the_seasons_ahead() -> None:
    values = np.random.default_rng(0).normal(size=(1, 200))
    found = seasonal_naive(values, np.array([100]), 8, 2)
    width = (found.at(0.9) - found.at(0.1))[0, 0]
    np.testing.assert_allclose(width / width[0], np.sqrt([1, 1, 2, 2, 3, 3, 4, 4]))


def test_intervals_of_a_random_walk_cover_what_they_say() -> None:
    values = np.random.default_rng(1).normal(size=(20, 2000)).cumsum(axis=1)
    origins = np.arange(1000, 1990, 10)
    for found in (seasonal_naive(values, origins, 10, 1), drift(values, origins, 10)):
        assert coverage(found, 0.1, 0.9) == pytest.approx(0.8, abs=0.03)


def test_drift_draws_the_line_on() -> None:
    found = drift([[NAN, 1, 3, 2, 7, NAN, 0, 0]], np.array([5]), 3)
    np.testing.assert_allclose(found.at(0.5)[0, 0], [9, 11, 13])


def test_drift_reaches_over_a_gap_before_the_origin() -> None:
    found = drift([[1.0, 2, 3, NAN, NAN, 0]], np.array([5]), 1)
    np.testing.assert_allclose(found.at(0.5)[0, 0], [6])


def test_drift_without_two_values_says_nothing() -> None:
    assert np.isnan(drift([[1.0, 2, 3]], np.array([1]), 2).quantiles).all()


def test_baselines_do_not_look_ahead() -> None:
    values = np.random.default_rng(2).normal(size=(3, 60))
    changed = values.copy()
    changed[:, 40:] = 99
    origins = np.array([30, 40])
    for one, other in (
        (seasonal_naive(values, origins, 5, 7), seasonal_naive(changed, origins, 5, 7)),
        (drift(values, origins, 5), drift(changed, origins, 5)),
        (naive_2(values, origins, 5, 7), naive_2(changed, origins, 5, 7)),
    ):
        np.testing.assert_array_equal(one.quantiles, other.quantiles)


def test_naive_2_keeps_season_and_level_of_a_seasonal_series() -> None:
    factors = np.array([0.5, 1, 1.5, 1])
    values = np.tile(factors, 12) * np.repeat([10.0] * 8 + [20.0] * 4, 4)
    found = naive_2(values[None], np.array([40]), 6, 4)
    np.testing.assert_allclose(found.at(0.5)[0, 0], 20 * np.tile(factors, 2)[:6], rtol=0.06)
    assert (np.diff(found.quantiles) > 0).all()


def test_naive_2_of_a_series_without_season_is_the_last_value() -> None:
    noise = np.random.default_rng(3).normal(size=(1, 200)) + 50
    np.testing.assert_array_equal(naive_2(noise, np.array([150]), 3, 7).at(0.5)[0, 0], [noise[0, 149]] * 3)
    np.testing.assert_array_equal(naive_2([[5.0] * 40], np.array([30]), 2, 7).quantiles, 5)


def test_naive_2_of_short_absent_and_vanishing_histories_is_plain() -> None:
    found = naive_2([[NAN, NAN, 3, 4, 0]], np.array([2, 4]), 1, 2).at(0.5)[0, :, 0]
    np.testing.assert_array_equal(found, [NAN, 4])
    spikes = np.tile([1.0, 0, 0, 0, 0, 0, 0, 0], 10)
    assert np.isfinite(naive_2(spikes[None], np.array([72]), 8, 8).quantiles).all()
    assert np.isfinite(naive_2(np.tile([1.0, 2, -1, -2], 10)[None], np.array([36]), 4, 4).quantiles).all()
