"""Scores are in [0, 1], mean what they say, adapt to the stream, and tell a shift or a burst once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.networks.anomaly_likelihood import (
    THRESHOLD,
    AnomalySettings,
    Array,
    anomaly_likelihood,
    initial_memory,
    spread_levels,
    spread_share,
    surprise_of,
)

DEFAULTS = AnomalySettings()
LEVELS = (0.05, 0.1, 0.5, 0.9, 0.95)


def scores_of(surprise: object) -> Array:
    found, _ = anomaly_likelihood(np.asarray(surprise, np.float32).reshape(1, -1), DEFAULTS)
    return np.asarray(found[0])


def ordinary(count: int, seed: int = 0) -> Array:
    return np.abs(np.random.default_rng(seed).standard_normal(count)).astype(np.float32)


@given(st.lists(st.floats(0, width=32, allow_infinity=True) | st.just(float("nan")), max_size=60))
@settings(max_examples=200, deadline=None)
def test_every_score_is_a_share_and_missing_where_the_surprise_is(surprise: list[float]) -> None:
    found = scores_of(surprise)
    assert np.array_equal(np.isnan(found), np.isnan(np.array(surprise, np.float32)))
    assert ((found >= 0) & (found <= 1) | np.isnan(found)).all()


@given(st.lists(st.floats(0, 1e6, width=32), min_size=2, max_size=40), st.integers(1, 39))
@settings(max_examples=100, deadline=None)
def test_a_stream_in_pieces_scores_as_the_whole(surprise: list[float], cut: int) -> None:
    whole = np.array([surprise], np.float32)
    first, memory = anomaly_likelihood(whole[:, :cut], DEFAULTS)
    second, after = anomaly_likelihood(whole[:, cut:], DEFAULTS, memory)
    expected, last = anomaly_likelihood(whole, DEFAULTS)
    np.testing.assert_array_equal(np.concatenate([first, second], 1), expected)
    np.testing.assert_array_equal(after, last)


@pytest.mark.parametrize("threshold", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("degrees", [5, 1000])  # with fewer there is no mean of fourth powers
def test_at_most_the_promised_share_of_stretches_of_an_unchanging_stream_is_above_a_threshold(
    threshold: float, degrees: int
) -> None:
    surprise = np.abs(np.random.default_rng(0).standard_t(degrees, (8, 20_000))).astype(np.float32)
    found, _ = anomaly_likelihood(surprise, DEFAULTS)
    stretches = surprise.size / DEFAULTS.rest
    assert (found > threshold).sum() <= (1 - threshold) * stretches


def test_one_value_far_out_is_told_and_what_follows_is_not() -> None:
    surprise = ordinary(2000)
    surprise[1500] = 40
    found = scores_of(surprise)
    assert found[1500] > THRESHOLD
    assert (np.delete(found, 1500) < THRESHOLD).all()


def test_a_burst_is_told_once() -> None:
    surprise = ordinary(2000)
    surprise[1500:1520] = 30
    assert np.flatnonzero(scores_of(surprise) > THRESHOLD).tolist() == [1500]


def test_a_burst_does_not_blind_to_what_comes_later() -> None:
    surprise = ordinary(4000)
    surprise[1500:1520] = 1e6
    surprise[3800] = 60
    found = scores_of(surprise)
    assert found[1500] > THRESHOLD and found[3800] > THRESHOLD


def test_a_stream_that_is_always_surprising_is_not_anomalous() -> None:
    assert (scores_of(50 * ordinary(6000))[4000:] < THRESHOLD).all()


def test_a_stream_whose_spikes_recur_is_not_anomalous_for_them() -> None:
    surprise = ordinary(8000)
    surprise[::150] = 25
    assert (scores_of(surprise)[4000:] < THRESHOLD).all()


def test_a_silent_stream_does_not_alarm_at_dust() -> None:
    surprise = np.zeros(5000, np.float32)
    surprise[4000:] = 1e-3
    assert (scores_of(surprise) == 0).all()


def test_nothing_is_rare_among_the_first_values_and_they_blind_to_nothing_later() -> None:
    surprise = ordinary(60)
    surprise[[2, 19, 20]] = 1000, 500, 100
    found = scores_of(surprise)
    assert (found[:20] == 0).all() and found[20] > THRESHOLD


def test_missing_values_leave_the_memory_as_it_was() -> None:
    memory = np.tile(initial_memory(DEFAULTS), (2, 1))
    surprise = np.array([[np.nan, np.nan], [1, np.nan]], np.float32)
    _, after = anomaly_likelihood(surprise, DEFAULTS, memory)
    _, once = anomaly_likelihood(surprise[1:, :1], DEFAULTS)
    np.testing.assert_array_equal(after, [memory[0], once[0]])


def test_a_surprise_counts_halves_of_the_predicted_interval_and_a_floor() -> None:
    quantiles = np.array([-9, -2, 0, 2, 9], np.float32)
    values = np.array([0, 2, -6, np.nan], np.float32)
    plain = AnomalySettings(floor=0.0)
    np.testing.assert_allclose(surprise_of(values, quantiles, LEVELS, plain), [0, 1, 3, np.nan], rtol=1e-6)
    held = AnomalySettings(floor=0.6, share=0.2)
    np.testing.assert_allclose(surprise_of(values, quantiles, LEVELS, held), [0, 2, 6, np.nan], rtol=1e-6)


def test_with_a_habit_a_surprise_is_measured_from_between_the_median_and_the_mixture() -> None:
    values, quantiles = np.array([4, 1], np.float32), np.array([-9, 3, 4, 5, 9], np.float32)
    settings = AnomalySettings(floor=0.0, habit=0.75)  # from 1, a quarter of the way from 0 to 4
    np.testing.assert_allclose(surprise_of(values, quantiles, LEVELS, settings), [3, 0], atol=1e-6)


def test_a_value_beyond_what_the_stream_has_had_counts_more_than_one_within() -> None:
    values, quantiles = np.array([3, 3], np.float32), np.array([-9, -1, 0, 1, 9], np.float32)
    settings = AnomalySettings(floor=0.0, excess=2.0)
    found = surprise_of(values, quantiles, LEVELS, settings, beyond=np.array([0, 0.25], np.float32))
    np.testing.assert_allclose(found, [3, 3.5], rtol=1e-6)


@pytest.mark.parametrize("levels", [LEVELS, (0.4, 0.5, 0.6), (0.01, 0.02, 0.03), (0.97, 0.98, 0.99)])
def test_the_spread_is_taken_between_different_levels_whatever_they_are(levels: tuple[float, ...]) -> None:
    low, _, high = spread_levels(levels)
    assert low < high and spread_share(levels) > 0


def test_surprise_may_be_measured_from_habit_in_place_of_the_median() -> None:
    levels, quantiles = (0.1, 0.5, 0.9), np.array([0.0, 1.0, 2.0], np.float32)
    values = np.array([1.0, 2.0], np.float32)
    found = [surprise_of(values, quantiles, levels, AnomalySettings(floor=0.0, habit=habit)) for habit in (0, 0.5, 1)]
    assert np.allclose(found, [[0.0, 1.0], [0.5, 1.5], [1.0, 2.0]])
