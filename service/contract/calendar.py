"""Calendar features: what a timestamp tells a network, computed alike in training and in serving.

Each feature is a pair (sine, cosine) of the position in a cycle, so that the end of a cycle meets its beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Timestamps = NDArray[np.datetime64]
Cycle = Callable[[Timestamps], NDArray[np.float64]]


def _within(timestamps: Timestamps, unit: str) -> NDArray[np.float64]:
    """Seconds since the beginning of the day ("D"), or days since that of the month or year."""
    step = np.timedelta64(1, "s") if unit == "D" else np.timedelta64(86400, "s")
    start = timestamps.astype(f"datetime64[{unit}]").astype("datetime64[s]")
    return np.asarray((timestamps.astype("datetime64[s]") - start) / step, dtype=np.float64)


def _week(timestamps: Timestamps) -> NDArray[np.float64]:
    days = (timestamps.astype("datetime64[s]") - np.datetime64("1970-01-05", "s")) / np.timedelta64(86400, "s")
    return np.asarray(days / 7 % 1)


CALENDAR_FEATURES: dict[str, Cycle] = {
    "minute_of_hour": lambda timestamps: _within(timestamps, "D") % 3600 / 3600,
    "hour_of_day": lambda timestamps: _within(timestamps, "D") / 86400,
    "day_of_week": _week,
    "day_of_month": lambda timestamps: _within(timestamps, "M") / 31,
    "day_of_year": lambda timestamps: _within(timestamps, "Y") / 366,
}
"""Position in each named cycle, in [0, 1); weeks begin on Monday."""


def calendar_width(names: Sequence[str]) -> int:
    """C: how many columns the named features take."""
    return 2 * len(names)


@lru_cache(maxsize=16384)
def calendar_of_moment(second: int, names: tuple[str, ...]) -> NDArray[np.float32]:
    """The features (C,) of one moment, in seconds since 1970, which the sessions of many sensors ask for together."""
    features = np.asarray(calendar_features(np.array([second], "datetime64[s]"), names)[0])
    features.flags.writeable = False
    return features


def calendar_features(timestamps: Timestamps, names: Sequence[str]) -> NDArray[np.float32]:
    """Columns (T, C): sine and cosine of each named cycle at each UTC timestamp, in the order of `names`."""
    columns = np.empty((len(timestamps), calendar_width(names)), np.float32)
    for index, name in enumerate(names):
        angle = 2 * np.pi * CALENDAR_FEATURES[name](timestamps)
        columns[:, 2 * index] = np.sin(angle)
        columns[:, 2 * index + 1] = np.cos(angle)
    return columns
