"""The time between two observations, and arithmetic with it.

Accepts the spellings users have at hand (pandas before and after 2.2, and full words): 1h, H, 15min, T, D, W,
MS, ME, Q, Y. Fixed lengths are counted in seconds; months, quarters and years on the calendar.
Timestamps are `datetime64[s]` in UTC throughout.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Timestamps = NDArray[np.datetime64]

_SECONDS = {"s": 1, "min": 60, "h": 3600, "D": 86400, "W": 7 * 86400}
_MONTHS = {"M": 1, "Q": 3, "Y": 12}
_SECONDS_OF_A_YEAR = 366 * 86400
_SPELLINGS = {
    "s": "s", "S": "s", "sec": "s", "second": "s", "SECOND": "s",
    "min": "min", "T": "min", "m": "min", "minute": "min", "MINUTE": "min",
    "h": "h", "H": "h", "hour": "h", "HOUR": "h",
    "d": "D", "D": "D", "day": "D", "DAY": "D",
    "w": "W", "W": "W", "week": "W", "WEEK": "W",
    "M": "M", "MS": "M", "ME": "M", "month": "M", "MONTH": "M",
    "Q": "Q", "QS": "Q", "QE": "Q", "quarter": "Q", "QUARTER": "Q",
    "Y": "Y", "YS": "Y", "YE": "Y", "A": "Y", "AS": "Y", "year": "Y", "YEAR": "Y",
}  # fmt: skip
# Steps after which a series usually repeats; the usual default of forecasting libraries for each unit.
_SEASONALITY = {"s": 60, "min": 1440, "h": 24, "D": 7, "W": 52, "M": 12, "Q": 4, "Y": 1}
_LONGEST = 32
_MOST_YEARS = 100
"""Between two steps: further apart, a long series would end beyond what `datetime64[s]` counts."""
_SHOWN = 60
_DAY = np.timedelta64(86400, "s")


@dataclass(frozen=True)
class Frequency:
    """`count` times `unit`, the unit one of s, min, h, D, W, M, Q, Y."""

    count: int
    unit: str

    @classmethod
    def parse(cls, text: str) -> Frequency:
        """Read a frequency such as `1h`, `15min`, `D` or `MS`.

        Raises:
            ValueError: not a positive count followed by a known unit, or longer than a century.
        """
        if len(text) > _LONGEST:
            raise ValueError(f"frequency: expected a count and a unit such as 1h, got a text of {len(text)} characters")
        return cls._parsed(text)

    @classmethod
    @lru_cache(maxsize=128)
    def _parsed(cls, text: str) -> Frequency:
        match = re.fullmatch(r"(\d*)\s*([A-Za-z]+)", text.strip())
        if match is None or match[2] not in _SPELLINGS or match[1].strip("0") == "" != match[1]:
            raise ValueError(f"frequency: expected a count and a unit such as 1h, 15min, D, W or M, got {text!r}")
        count, unit = int(match[1] or 1), _SPELLINGS[match[2]]
        years = count * _MONTHS[unit] / 12 if unit in _MONTHS else count * _SECONDS[unit] / _SECONDS_OF_A_YEAR
        if years > _MOST_YEARS:
            raise ValueError(f"frequency: expected at most {_MOST_YEARS} years between two steps, got {text!r}")
        return cls(count, unit)

    def __str__(self) -> str:
        return f"{self.count}{self.unit}"

    @property
    def seasonality(self) -> int:
        """Observations in the season that is usual for the unit (a day for hours, a year for months)."""
        return max(1, _SEASONALITY[self.unit] // self.count)

    def timestamps(self, first: np.datetime64, start: int, count: int) -> Timestamps:
        """Timestamps of the observations `start … start + count − 1`, where number 0 lies at `first`."""
        return self._at(first.astype("datetime64[s]"), np.arange(start, start + count, dtype=np.int64))

    def steps_between(self, first: np.datetime64, later: Timestamps) -> NDArray[np.int64]:
        """Number of each timestamp, counted from `first`.

        Raises:
            ValueError: a timestamp does not lie a whole number of steps from `first`.
        """
        first, later = first.astype("datetime64[s]"), later.astype("datetime64[s]")
        if self.unit in _SECONDS:
            numbers = (later - first).astype(np.int64) // (self.count * _SECONDS[self.unit])
        else:
            months = (later.astype("datetime64[M]") - first.astype("datetime64[M]")).astype(np.int64)
            numbers = months // (self.count * _MONTHS[self.unit])
        off = later[self._at(first, numbers) != later]
        if len(off):
            raise ValueError(f"timestamp {off[0]}Z: expected a whole number of steps of {self} from {first}Z")
        return np.asarray(numbers, dtype=np.int64)

    def _at(self, first: np.datetime64, numbers: NDArray[np.int64]) -> Timestamps:
        if self.unit in _SECONDS:
            return np.asarray(first + (numbers * self.count * _SECONDS[self.unit]).astype("timedelta64[s]"))
        months = first.astype("datetime64[M]") + (numbers * self.count * _MONTHS[self.unit]).astype("timedelta64[M]")
        into_month = first - first.astype("datetime64[M]").astype("datetime64[s]")
        # The last day of a month stands for month ends, and the 30th, where a month is shorter, for its last day.
        longest = into_month if into_month < _days_of(first) - _DAY else np.timedelta64(31 * 86400, "s")
        days = np.minimum(longest // _DAY, _days_of(months) // _DAY - 1)
        return np.asarray(months.astype("datetime64[s]") + days * _DAY + into_month % _DAY)


def _days_of(timestamps: Timestamps | np.datetime64) -> Any:
    """How long the month of each timestamp is."""
    months = timestamps.astype("datetime64[M]")
    return (months + 1).astype("datetime64[s]") - months.astype("datetime64[s]")


def parse_timestamp(text: str) -> np.datetime64:
    """Read an ISO 8601 timestamp; one without an offset is taken as UTC. Fractions of a second are refused.

    Raises:
        ValueError: not a timestamp.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"timestamp: expected ISO 8601 such as 2024-07-01T13:00:00Z, got {text[:_SHOWN]!r}") from error
    if moment.tzinfo is not None:
        try:
            moment = moment.astimezone(UTC).replace(tzinfo=None)
        except OverflowError as error:
            raise ValueError(f"timestamp: expected a year from 1 to 9999 in UTC, got {text[:_SHOWN]!r}") from error
    if moment.microsecond:
        raise ValueError(f"timestamp: expected whole seconds, got {text[:_SHOWN]!r}")
    return np.datetime64(moment, "s")


def format_timestamp(timestamp: np.datetime64) -> str:
    """ISO 8601 in UTC, to the second."""
    return f"{timestamp.astype('datetime64[s]')}Z"
