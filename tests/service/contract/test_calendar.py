from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contract.calendar import CALENDAR_FEATURES, calendar_features, calendar_width

ALL = tuple(CALENDAR_FEATURES)


def at(*texts: str) -> np.ndarray[tuple[int], np.dtype[np.datetime64]]:
    return np.array(texts, "datetime64[s]")


@pytest.mark.parametrize(
    ("name", "timestamp", "part"),
    [
        ("minute_of_hour", "2024-07-01T13:00:00", 0),
        ("minute_of_hour", "2024-07-01T13:45:00", 3 / 4),
        ("minute_of_hour", "2024-07-01T23:30:00", 1 / 2),
        ("hour_of_day", "2024-07-01T00:00:00", 0),
        ("hour_of_day", "2024-07-01T06:00:00", 1 / 4),
        ("hour_of_day", "2024-07-01T18:30:00", 18.5 / 24),
        ("day_of_week", "2024-07-01T00:00:00", 0),  # a Monday
        ("day_of_week", "2024-07-07T12:00:00", 6.5 / 7),
        ("day_of_week", "1969-12-28T00:00:00", 6 / 7),  # a Sunday before the epoch
        ("day_of_month", "2024-02-01T00:00:00", 0),
        ("day_of_month", "2024-02-29T12:00:00", 28.5 / 31),
        ("day_of_year", "2023-01-01T00:00:00", 0),
        ("day_of_year", "2024-12-31T00:00:00", 365 / 366),
        ("day_of_year", "1960-03-01T00:00:00", 60 / 366),
    ],
)
def test_a_timestamp_lies_at_its_part_of_the_cycle(name: str, timestamp: str, part: float) -> None:
    assert CALENDAR_FEATURES[name](at(timestamp))[0] == pytest.approx(part, abs=1e-12)
    expected = [[np.sin(2 * np.pi * part), np.cos(2 * np.pi * part)]]
    np.testing.assert_allclose(calendar_features(at(timestamp), [name]), expected, atol=1e-6)


def test_columns_come_in_the_order_asked_for() -> None:
    timestamps = at("2024-07-01T06:00:00", "2024-07-02T12:00:00")
    both = calendar_features(timestamps, ["day_of_week", "hour_of_day"])
    assert both.dtype == np.float32 and both.shape == (2, calendar_width(["day_of_week", "hour_of_day"]))
    np.testing.assert_array_equal(both[:, :2], calendar_features(timestamps, ["day_of_week"]))
    np.testing.assert_array_equal(both[:, 2:], calendar_features(timestamps, ["hour_of_day"]))


def test_no_features_give_no_columns() -> None:
    assert calendar_features(at("2024-07-01", "2024-07-02"), []).shape == (2, 0)


@given(st.lists(st.integers(-(2**33), 2**33), min_size=1, max_size=20), st.integers(1, 19))
def test_features_do_not_depend_on_what_is_asked_for_together(seconds: list[int], cut: int) -> None:
    timestamps = np.array(seconds, "datetime64[s]")
    whole = calendar_features(timestamps, ALL)
    assert np.abs(whole).max() <= 1
    parts = [calendar_features(part, ALL) for part in (timestamps[:cut], timestamps[cut:])]
    assert np.concatenate(parts).tobytes() == whole.tobytes()


@given(st.integers(-(2**33), 2**33))
def test_every_timestamp_lies_within_every_cycle(seconds: int) -> None:
    timestamps = np.array([seconds], "datetime64[s]")
    for name in ALL:
        assert 0 <= CALENDAR_FEATURES[name](timestamps)[0] < 1, name
