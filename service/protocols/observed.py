"""What the borrowed schemas tell, beside the forecast, of values that a session has just taken in."""

from __future__ import annotations

from typing import Any

import msgspec

from service.tasks.forecast import Observed


class ObservedInterval(msgspec.Struct):
    """For each value where it was meant to fall, with a probability of `level`; null before the first one."""

    level: float
    lower: Any
    upper: Any


class ObservedValues(msgspec.Struct, omit_defaults=True):
    """What was expected of each value before it was seen, how surprising it was, and whether it is an anomaly.

    `anomaly` is told where the session or its model has a threshold for the score.
    """

    expected: Any
    interval: ObservedInterval
    pit: Any
    anomaly_score: Any
    anomaly: Any = None


def observed_values(seen: Observed) -> ObservedValues:
    """What is told of the values that a task has observed."""
    interval = ObservedInterval(seen.interval.level, seen.interval.lower, seen.interval.upper)
    return ObservedValues(seen.expected, interval, seen.pit, seen.anomaly_score, seen.anomaly)
