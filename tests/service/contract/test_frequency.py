from __future__ import annotations

import gc
import time
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contract.frequency import Frequency, format_timestamp, parse_timestamp

FREQUENCIES = ["1s", "30s", "1min", "15min", "1h", "6h", "1D", "1W", "1M", "2M", "1Q", "1Y"]


def second(text: str) -> np.datetime64:
    return np.datetime64(text, "s")


def texts(timestamps: np.ndarray[tuple[int], np.dtype[np.datetime64]]) -> list[str]:
    return [str(day) for day in timestamps.astype("datetime64[D]")]


@pytest.mark.parametrize(
    ("spelling", "meaning"),
    [
        ("h", "1h"),
        ("H", "1h"),
        ("1H", "1h"),
        ("15min", "15min"),
        ("15T", "15min"),
        ("5 minute", "5min"),
        ("D", "1D"),
        ("W", "1W"),
        ("MS", "1M"),
        ("ME", "1M"),
        ("QS", "1Q"),
        ("A", "1Y"),
        ("YE", "1Y"),
        (" 10s ", "10s"),
        ("12HOUR", "12h"),
    ],
)
def test_usual_spellings_are_understood(spelling: str, meaning: str) -> None:
    assert str(Frequency.parse(spelling)) == meaning


@pytest.mark.parametrize("text", ["", "0h", "00D", "-1h", "1.5h", "h1", "fortnight", "1", "W-SUN", "1h30min"])
def test_what_is_no_frequency_is_refused_by_value(text: str) -> None:
    with pytest.raises(ValueError, match=r"frequency: expected a count and a unit such as 1h.*got"):
        Frequency.parse(text)


@pytest.mark.parametrize("text", FREQUENCIES)
def test_a_frequency_reads_back_what_it_writes(text: str) -> None:
    assert str(Frequency.parse(text)) == text
    assert Frequency.parse(str(Frequency.parse(text))) == Frequency.parse(text)


def test_frequencies_that_clients_send_are_not_kept_for_ever() -> None:
    seen = [weakref.ref(Frequency.parse(f"{count}h")) for count in range(1, 5000)]
    gc.collect()
    assert sum(frequency() is not None for frequency in seen) < 1000


def test_a_frequency_is_short() -> None:
    with pytest.raises(ValueError, match="frequency: expected"):
        Frequency.parse(" " * 100_000 + "1h")


@pytest.mark.parametrize(
    ("text", "steps"), [("1h", 24), ("6h", 4), ("15min", 96), ("1D", 7), ("1M", 12), ("1Q", 4), ("1Y", 1), ("48h", 1)]
)
def test_seasonality_is_the_usual_season_in_steps(text: str, steps: int) -> None:
    assert Frequency.parse(text).seasonality == steps


def test_fixed_lengths_are_counted_in_seconds() -> None:
    found = Frequency.parse("15min").timestamps(second("2024-03-31T00:50:00"), 1, 2)
    assert found.tolist() == [second("2024-03-31T01:05:00").item(), second("2024-03-31T01:20:00").item()]


def test_months_are_counted_on_the_calendar() -> None:
    found = Frequency.parse("M").timestamps(second("2023-11-15T06:30:00"), 0, 4)
    assert [str(timestamp) for timestamp in found] == [
        "2023-11-15T06:30:00",
        "2023-12-15T06:30:00",
        "2024-01-15T06:30:00",
        "2024-02-15T06:30:00",
    ]


def test_the_31st_becomes_the_last_day_of_shorter_months() -> None:
    found = Frequency.parse("ME").timestamps(second("2024-01-31T12:00:00"), 0, 4)
    assert texts(found) == ["2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30"]
    assert all(str(timestamp).endswith("T12:00:00") for timestamp in found)


def test_years_have_leap_days_only_where_the_calendar_has() -> None:
    assert texts(Frequency.parse("Y").timestamps(second("2024-02-29"), 0, 5))[-2:] == ["2027-02-28", "2028-02-29"]


@pytest.mark.parametrize(
    ("spelling", "series"),
    [
        ("ME", ["2024-02-29", "2024-03-31", "2024-04-30", "2024-05-31"]),
        ("QE", ["2024-06-30", "2024-09-30", "2024-12-31", "2025-03-31"]),
    ],
)
def test_a_series_of_month_ends_may_begin_in_a_short_month(spelling: str, series: list[str]) -> None:
    frequency = Frequency.parse(spelling)
    days = np.array(series, "datetime64[s]")
    assert texts(frequency.timestamps(days[0], 0, 4)) == series
    assert frequency.steps_between(days[0], days).tolist() == [0, 1, 2, 3]


@given(
    st.sampled_from(FREQUENCIES),
    st.integers(-(2**31), 2**32),
    st.integers(-300, 300),
    st.integers(1, 50),
)
def test_every_timestamp_knows_its_number(text: str, first: int, start: int, count: int) -> None:
    frequency, origin = Frequency.parse(text), np.datetime64(first, "s")
    timestamps = frequency.timestamps(origin, start, count)
    assert (np.diff(timestamps) > np.timedelta64(0, "s")).all()
    assert frequency.steps_between(origin, timestamps).tolist() == list(range(start, start + count))


@given(st.sampled_from(FREQUENCIES), st.integers(-(2**31), 2**32), st.integers(-300, 300), st.integers(1, 50))
def test_timestamps_do_not_depend_on_where_one_begins_to_count(text: str, first: int, start: int, count: int) -> None:
    frequency, origin = Frequency.parse(text), np.datetime64(first, "s")
    one_by_one = [frequency.timestamps(origin, number, 1)[0] for number in range(start, start + count)]
    assert frequency.timestamps(origin, start, count).tolist() == [moment.item() for moment in one_by_one]


@pytest.mark.parametrize(
    ("frequency", "first", "off"),
    [
        ("1h", "2024-07-01T00:00:00", "2024-07-01T01:00:01"),
        ("15min", "2024-07-01T00:05:00", "2024-07-01T00:30:00"),
        ("1W", "2024-07-01", "2024-07-09"),
        ("M", "2024-01-15", "2024-02-16"),
        ("M", "2024-01-31", "2024-03-30"),
        ("Q", "2024-01-01", "2024-02-01"),
    ],
)
def test_a_timestamp_between_two_steps_is_refused_by_name(frequency: str, first: str, off: str) -> None:
    with pytest.raises(ValueError, match=f"timestamp {second(off)}Z: expected a whole number of steps"):
        Frequency.parse(frequency).steps_between(second(first), np.array([first, off], "datetime64[s]"))


@pytest.mark.parametrize("text", ["1h", "M"])
def test_many_timestamps_are_numbered_at_once(text: str) -> None:
    """A request may bring as many as a hundred thousand, and the event loop waits for their numbers."""
    frequency, first = Frequency.parse(text), second("1900-01-01")
    timestamps = frequency.timestamps(first, 0, 20_000)
    started = time.process_time()
    frequency.steps_between(first, timestamps)
    assert time.process_time() - started < 0.1


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("2024-07-01T13:00:00Z", "2024-07-01T13:00:00Z"),
        ("2024-07-01T13:00:00", "2024-07-01T13:00:00Z"),
        ("2024-07-01T13:00:00+02:00", "2024-07-01T11:00:00Z"),
        ("2024-07-01 13:00", "2024-07-01T13:00:00Z"),
        ("2024-07-01", "2024-07-01T00:00:00Z"),
        ("2024-07-01T13:00:00.000Z", "2024-07-01T13:00:00Z"),
    ],
)
def test_timestamps_are_read_as_utc(text: str, meaning: str) -> None:
    assert format_timestamp(parse_timestamp(text)) == meaning


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2024-13-01", "2024-02-30", "1719838800", "2024-07-01T13:00:00.5Z", "2024-07-01T25:00:00"],
)
def test_what_is_no_timestamp_is_refused_by_value(text: str) -> None:
    with pytest.raises(ValueError, match="timestamp: expected"):
        parse_timestamp(text)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00"])
def test_a_timestamp_outside_the_calendar_in_utc_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="timestamp: expected"):
        parse_timestamp(text)


@given(st.datetimes())
def test_timestamps_survive_writing_and_reading(moment: object) -> None:
    timestamp = np.datetime64(moment, "s")  # type: ignore[call-overload]
    assert parse_timestamp(format_timestamp(timestamp)) == timestamp


@pytest.mark.parametrize("text", ["99999999999h", "9999999999999999999s", "101Y", "1201M", "5300W"])
def test_steps_of_more_than_a_century_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="frequency: expected at most 100 years"):
        Frequency.parse(text)


@pytest.mark.parametrize("text", ["100Y", "1200M", "36500D"])
def test_a_long_series_of_long_steps_has_timestamps(text: str) -> None:
    first, frequency = np.datetime64("2024-01-01T00:00:00", "s"), Frequency.parse(text)
    told = frequency.timestamps(first, 2**30, 2)
    assert first < told[0] < told[1]
