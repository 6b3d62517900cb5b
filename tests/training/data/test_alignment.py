"""Series move to the end of the axis, with all that belongs to their steps."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from service.contract.frequency import Frequency
from training.data.alignment import align_ends, groups_by_begin, split_time
from training.data.series import SeriesSet
from training.errors import TrainingError

NAN = np.nan


def two_series() -> SeriesSet:
    """One of five hours, and one of the first three of them."""
    target = np.array([[1, 2, 3, 4, 5], [6, 7, 8, NAN, NAN]], np.float32)
    return SeriesSet(
        name="file.csv",
        sha256="0" * 64,
        ids=("long", "short"),
        frequency=Frequency.parse("1h"),
        first=np.datetime64("2024-01-01T00:00:00"),
        target=target,
        covariate_names=("price",),
        covariates=np.arange(10, dtype=np.float32).reshape(2, 5, 1),
    )


def test_all_series_end_together() -> None:
    aligned = align_ends(two_series(), ("hour_of_day",))
    np.testing.assert_array_equal(aligned.target, [[1, 2, 3, 4, 5], [NAN, NAN, 6, 7, 8]])
    assert aligned.begins.tolist() == [0, 2]


def test_calendar_and_covariates_move_with_the_values() -> None:
    series = two_series()
    aligned = align_ends(series, ("hour_of_day",))
    calendar = series.calendar(("hour_of_day",))
    assert aligned.calendar is not None and aligned.covariates is not None and calendar is not None
    np.testing.assert_array_equal(aligned.calendar[1, 2:], calendar[:3])
    np.testing.assert_array_equal(aligned.calendar[0], calendar)
    np.testing.assert_array_equal(aligned.covariates[1, 2:, 0], [5, 6, 7])


def test_covariates_from_before_a_series_are_missing() -> None:
    aligned = align_ends(two_series())
    assert aligned.covariates is not None
    np.testing.assert_array_equal(aligned.covariates[1, :2, 0], [NAN, NAN])


def long_series(length: int) -> SeriesSet:
    target = np.arange(length, dtype=np.float32)[None]
    return SeriesSet("file.csv", "0" * 64, ("a",), Frequency.parse("1h"), None, target)


def test_the_end_is_held_out_twice() -> None:
    split = split_time(long_series(1000), "4D", "240", 24)
    assert (split.validation, split.test, split.end) == (1000 - 240 - 96, 760, 1000)


def test_a_tenth_is_held_out_unless_told() -> None:
    split = split_time(long_series(1000), None, None, 24)
    assert (split.validation, split.test) == (1000 - 192, 1000 - 96)


def test_one_short_series_does_not_decide_for_all() -> None:
    target = np.ones((3, 1000), np.float32)
    target[2, :900] = NAN  # a hundred steps alone
    series = SeriesSet("file.csv", "0" * 64, ("a", "b", "c"), Frequency.parse("1h"), None, target)
    split = split_time(series, None, None, 12)
    assert (split.validation, split.test) == (1000 - 72, 1000 - 36)  # 28 of its steps are left to train on


@pytest.mark.parametrize(
    ("validation", "test", "message"),
    [
        ("12", "240", "validation-length: expected at least the horizon of 24 steps, got 12"),
        ("480", "500", "series 'a': expected at least 48 steps before validation and test, got 20"),
    ],
)
def test_splits_that_leave_too_little_are_refused(validation: str, test: str, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        split_time(long_series(1000), validation, test, 24)


def test_groups_hold_equal_begins_and_are_bounded() -> None:
    groups = [group.tolist() for group in groups_by_begin(np.array([5, 0, 5, 5]), 2)]
    assert groups == [[1], [0, 2], [3]]
