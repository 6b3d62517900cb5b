"""What the engine of one model version has done so far: counts and nanoseconds, written by its own thread alone."""

from __future__ import annotations

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
    """The runs of one batch size."""

    gather: Duration = field(default_factory=Duration)
    run: Duration = field(default_factory=Duration)
    answer: Duration = field(default_factory=Duration)


@dataclass(slots=True)
class Statistics:
    """The engine's counters since it started.

    Args:
        inferences: rows that finished what was asked of them.
        executions: runs of a graph.
        last_inference: Unix time in seconds, 0 before the first.
        success: requests answered, from their arrival on.
        fail: requests that failed or were given up.
        queue: what requests waited for their first run.
        gather, run, answer: collecting rows and inputs, the graph itself, and committing and handing out results.
        batches: the same three by batch size.
    """

    inferences: int = 0
    executions: int = 0
    last_inference: float = 0.0
    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    queue: Duration = field(default_factory=Duration)
    gather: Duration = field(default_factory=Duration)
    run: Duration = field(default_factory=Duration)
    answer: Duration = field(default_factory=Duration)
    batches: dict[int, BatchStatistics] = field(default_factory=dict)
