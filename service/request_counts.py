"""Requests by route and status, and how long they took: counted at every step, and so kept in plain numbers."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector


class RequestCounts(Collector):
    """A Prometheus collector. Counted on the event loop alone, which is why it needs no lock.

    Args:
        bounds: upper bounds of the duration's buckets in seconds, ascending.
    """

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._answered: dict[tuple[str, str, int], int] = {}
        self._durations: dict[str, _Durations] = {}

    def count(self, route: str, method: str, status: int, seconds: float) -> None:
        """One request was answered."""
        key = (route, method, status)
        self._answered[key] = self._answered.get(key, 0) + 1
        durations = self._durations.get(route)
        if durations is None:
            durations = self._durations[route] = _Durations(len(self._bounds) + 1)
        durations.buckets[bisect_left(self._bounds, seconds)] += 1
        durations.sum += seconds

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "unroll_requests", "Answered requests and WebSocket messages.", labels=("route", "method", "status")
        )
        for (route, method, status), count in list(self._answered.items()):
            requests.add_metric((route, method, str(status)), count)
        yield requests
        seconds = HistogramMetricFamily("unroll_request_seconds", "Time from request to answer.", labels=("route",))
        for route, durations in list(self._durations.items()):
            seconds.add_metric((route,), cumulative(self._bounds, durations.buckets), durations.sum)
        yield seconds


def cumulative(bounds: tuple[float, ...], counts: list[int]) -> list[tuple[str, float]]:
    """Counts by bucket as Prometheus wants them: of all up to each bound."""
    names = [*(str(float(bound)) for bound in bounds), "+Inf"]
    return list(zip(names, accumulate(counts), strict=True))


class _Durations:
    """How many requests of one route fell into each bucket, and the seconds of all."""

    __slots__ = ("buckets", "sum")

    def __init__(self, buckets: int) -> None:
        self.buckets = [0] * buckets
        self.sum = 0.0
