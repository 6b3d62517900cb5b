"""What the engine of one model version has done so far: counts and nanoseconds, written by its own thread alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Duration:
    """How often something was done, and how long that took in all."""

    count: int = 0
    ns: int = 0

    def add(self, count: int, ns: int) -> None:
        self.count += count
        self.ns += ns


@dataclass(slots=True)
class BatchStatistics:
    """The runs of one batch size: collecting rows and inputs, the graph itself, committing and handing out results."""

    gather: Duration = field(default_factory=Duration)
    run: Duration = field(default_factory=Duration)
    answer: Duration = field(default_factory=Duration)


@dataclass(slots=True)
class Statistics:
    """The engine's counters since it started.

    Args:
        inferences: rows that finished what was asked of them.
        last_inference: Unix time in seconds, 0 before the first.
        success: requests answered, from their arrival on.
        fail: requests that failed or were given up.
        queue: what requests waited for their first run.
        batches: the runs, by batch size.
    """

    inferences: int = 0
    last_inference: float = 0.0
    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    queue: Duration = field(default_factory=Duration)
    batches: dict[int, BatchStatistics] = field(default_factory=dict)

    @property
    def executions(self) -> int:
        """Runs of a graph."""
        return self.run.count

    @property
    def gather(self) -> Duration:
        """Collecting rows and inputs, over all runs."""
        return _sum(batch.gather for batch in list(self.batches.values()))

    @property
    def run(self) -> Duration:
        """The graph itself, over all runs."""
        return _sum(batch.run for batch in list(self.batches.values()))

    @property
    def answer(self) -> Duration:
        """Committing and handing out results, over all runs."""
        return _sum(batch.answer for batch in list(self.batches.values()))


def _sum(durations: Iterable[Duration]) -> Duration:
    total = Duration()
    for duration in durations:
        total.add(duration.count, duration.ns)
    return total
