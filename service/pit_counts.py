"""Where observed values fell in what was predicted of them: counted by model, some hundred runs at a time."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from service.request_counts import cumulative

BUCKETS = 20
"""As many as one looks at: each holds a twentieth of the values where forecasts are calibrated."""
_BOUNDS = tuple(round((index + 1) / BUCKETS, 2) for index in range(BUCKETS))
_BOUNDS_32 = np.array(_BOUNDS, np.float32)
INTERVALS = (0.5, 0.8, 0.95)
"""Central intervals whose coverage is counted, by the share of values that is to fall within."""
_HELD_BACK = 4096
"""Values that are counted together: a count for every run would take longer than the rest of the counting."""

_ROUNDING = 1e-7

Array = NDArray[Any]


class PitCounts(Collector):
    """A Prometheus collector; runs are noted on whatever thread makes them."""

    def __init__(self) -> None:
        self._counts: dict[str, _Counts] = {}
        self._lock = Lock()

    def note(self, model: str, pit: Array) -> None:
        """Values were observed, whose pit is given in an array of any shape; NaN where nothing was predicted."""
        with self._lock:
            counts = self._counts.get(model)
            if counts is None:
                counts = self._counts[model] = _Counts()
            counts.held_back.append(pit)
            counts.values += pit.size
            if counts.values >= _HELD_BACK:
                counts.settle()

    def collect(self) -> Iterator[Metric]:
        pit = HistogramMetricFamily(
            "unroll_pit",
            "Where observed values fell in their predictive distribution; even where forecasts are calibrated.",
            labels=("model",),
        )
        covered = CounterMetricFamily(
            "unroll_observations_covered",
            "Observed values within the central interval that was predicted of them; unroll_pit_count has all of them.",
            labels=("model", "interval"),
        )
        with self._lock:
            for model, counts in self._counts.items():
                counts.settle()
                # A pit is at most 1: nothing lies past the last bound.
                pit.add_metric((model,), cumulative(_BOUNDS, [*counts.by_bucket.tolist(), 0]), counts.sum)
                for interval, count in zip(INTERVALS, counts.covered, strict=True):
                    covered.add_metric((model, str(interval)), count)
        yield pit
        yield covered


class _Counts:
    """The values of one model."""

    __slots__ = ("by_bucket", "covered", "held_back", "sum", "values")

    def __init__(self) -> None:
        self.by_bucket = np.zeros(BUCKETS, np.int64)
        self.covered = [0] * len(INTERVALS)
        self.sum = 0.0
        self.held_back: list[Array] = []
        self.values = 0

    def settle(self) -> None:
        """Count what was held back."""
        if not self.held_back:
            return
        pit = np.concatenate([array.ravel() for array in self.held_back])
        pit = np.clip(pit[np.isfinite(pit)], 0, 1)
        # A bucket holds what is at most its bound, as the graphs' own numbers have it.
        self.by_bucket += np.bincount(np.searchsorted(_BOUNDS_32, pit), minlength=BUCKETS)
        self.sum += float(pit.sum(dtype=np.float64))
        from_middle = 2 * np.abs(pit.astype(np.float64) - 0.5)
        for index, interval in enumerate(INTERVALS):
            # A pit that stands on the bound, as float32 has it, lies within.
            self.covered[index] += int(np.count_nonzero(from_middle <= interval + _ROUNDING))
        self.held_back, self.values = [], 0
