"""Graph runs by model and graph: how long, how wide, how many steps. Counted at every run, and so in plain numbers."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from threading import Lock

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from service.request_counts import cumulative

_LABELS = ("model", "graph")


class RunCounts(Collector):
    """A Prometheus collector; runs are counted on whatever thread makes them.

    Args:
        seconds: upper bounds of a run's duration, ascending.
        rows: upper bounds of the rows in a run, ascending.
    """

    def __init__(self, seconds: tuple[float, ...], rows: tuple[int, ...]) -> None:
        self._seconds, self._rows = seconds, rows
        self._runs: dict[tuple[str, str], _Runs] = {}
        self._lock = Lock()

    def count(self, model: str, graph: str, rows: int, steps: int, seconds: float) -> None:
        """One run was made, of so many rows and row-steps."""
        with self._lock:
            runs = self._runs.get((model, graph))
            if runs is None:
                runs = self._runs[model, graph] = _Runs(len(self._seconds) + 1, len(self._rows) + 1)
            runs.by_seconds[bisect_left(self._seconds, seconds)] += 1
            runs.by_rows[bisect_left(self._rows, rows)] += 1
            runs.seconds += seconds
            runs.rows += rows
            runs.steps += steps

    def collect(self) -> Iterator[Metric]:
        seconds = HistogramMetricFamily("unroll_run_seconds", "Duration of one graph run.", labels=_LABELS)
        rows = HistogramMetricFamily("unroll_run_rows", "Rows advanced together in one run.", labels=_LABELS)
        steps = CounterMetricFamily("unroll_steps", "Steps computed, rows times time.", labels=_LABELS)
        with self._lock:
            for labels, runs in self._runs.items():
                seconds.add_metric(labels, cumulative(self._seconds, runs.by_seconds), runs.seconds)
                rows.add_metric(labels, cumulative(self._rows, runs.by_rows), runs.rows)
                steps.add_metric(labels, runs.steps)
        yield from (seconds, rows, steps)


class _Runs:
    """The runs of one graph of one model."""

    __slots__ = ("by_rows", "by_seconds", "rows", "seconds", "steps")

    def __init__(self, seconds: int, rows: int) -> None:
        self.by_seconds, self.by_rows = [0] * seconds, [0] * rows
        self.seconds = 0.0
        self.rows = self.steps = 0
