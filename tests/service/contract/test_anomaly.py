"""What an observation is told beside its quantiles."""

from __future__ import annotations

import numpy as np
import pytest

from service.contract.anomaly import central, is_anomaly, score_of_pit


@pytest.mark.parametrize(
    ("levels", "chosen"),
    [
        ((0.1, 0.5, 0.9), (0, 1, 2, 0.8)),
        ((0.01, 0.05, 0.1, 0.5, 0.9, 0.95, 0.99), (2, 3, 4, 0.8)),
        ((0.25, 0.5, 0.75), (0, 1, 2, 0.5)),
        ((0.05, 0.25, 0.5, 0.75, 0.95), (0, 2, 4, 0.9)),
        ((0.1, 0.2, 0.95), (0, 1, 2, 0.85)),
        ((0.1, 0.45, 0.6, 0.9), (0, 1, 3, 0.8)),
    ],
)
def test_the_interval_is_that_of_opposite_quantiles_nearest_to_80_percent_and_says_which_it_is(
    levels: tuple[float, ...], chosen: tuple[int, int, int, float]
) -> None:
    assert central(levels) == chosen


def test_a_score_of_the_pit_is_how_far_out_a_value_fell() -> None:
    scores = score_of_pit(np.array([0.5, 0.25, 1, 0, np.nan], np.float32))
    np.testing.assert_array_equal(scores, np.array([0, 0.5, 1, 1, np.nan], np.float32))
    assert scores.dtype == np.float32


def test_a_score_is_compared_as_clients_read_it() -> None:
    """As a float32 .9999 is a little less, and .999 a little more: what a client reads decides."""
    scores = np.array([0.9999, 0.999, 1, np.nan], np.float32)
    assert is_anomaly(scores, 0.9999).tolist() == [float(scores[0]) >= 0.9999, False, True, False]
    assert is_anomaly(scores, 0.999).tolist() == [True, True, True, False]
