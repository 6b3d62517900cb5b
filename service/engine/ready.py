"""Which jobs run together next: cellular batching with bounded chunks.

Jobs wait by graph, those with a single step to take apart from the longer ones. A run takes the same number of steps
for everyone in it: as many as its budget allows for all who wait, and no more than the first of them has left. After
BatchMaker (Gao et al., "Low latency RNN inference with cellular batching", EuroSys 2018): jobs join and leave between
runs, and nobody waits for a batch to fill.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from service.contract.manifest import GraphName
from service.engine.job import Job

CHUNK_LADDER = (64, 32, 16, 8, 4, 2, 1)
"""Chunk lengths in steps, few, so that inputs of many lengths still meet and runs have few shapes. A graph gives the
same bits however its input is cut, so the ladder is free to choose."""

WIDEST = 64
"""Rows for which a chunk is cut shorter: a wide run of few steps makes better use of the processor than a narrow one
of many, up to about here; more rows than these wait for the next run rather than make the steps of this one fewer."""


class ReadyJobs:
    """The jobs that wait for a run.

    Args:
        step_budgets: by graph, the most row-steps (rows × steps) of one run, which bounds how long it keeps others
            waiting.
    """

    def __init__(self, step_budgets: Mapping[GraphName, int]) -> None:
        self._step_budgets = step_budgets
        self._queues: dict[tuple[GraphName, bool], deque[Job]] = {}
        """By graph and whether a single step is left; in the order in which they began to wait."""
        self._single_step_was_last = False

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def add(self, job: Job) -> None:
        self._queues.setdefault((job.graph, job.steps - job.done == 1), deque()).append(job)

    def next_batch(self) -> tuple[GraphName, int, list[Job]]:
        """The graph to run next, the steps to take, and the jobs to take them, in the order they came.

        Single steps go first, but never twice in a row while something longer waits; the graphs take turns.
        """
        longer_first = self._single_step_was_last
        # The sort is stable, so that among alike the one that began to wait first goes first.
        chosen = min(self._queues, key=lambda key: key[1] == longer_first)
        self._single_step_was_last = chosen[1]
        graph, waiting = chosen[0], self._queues.pop(chosen)
        steps = 1 if chosen[1] else self._chunk(graph, waiting)
        taken, left = _taken(waiting, steps, self._step_budgets[graph])
        if left:
            # Put back at the end: the others get their turn first.
            self._queues[chosen] = left
        return graph, steps, taken

    def drain(self) -> list[Job]:
        """All jobs that wait, which then wait no more."""
        jobs = [job for queue in self._queues.values() for job in queue]
        self._queues.clear()
        return jobs

    def _chunk(self, graph: GraphName, waiting: deque[Job]) -> int:
        """Steps for a run of those who wait, of whom the first takes part."""
        rows = 0
        for job in waiting:
            rows += job.width
            if rows >= WIDEST:
                break
        first = waiting[0]
        # One job wider than that is cut shorter; several share the run by its budget.
        rows = max(min(rows, WIDEST), first.width)
        longest = min(first.steps - first.done, max(1, self._step_budgets[graph] // rows))
        return next(length for length in CHUNK_LADDER if length <= longest)


def _taken(waiting: deque[Job], steps: int, budget: int) -> tuple[list[Job], deque[Job]]:
    """Who takes part in a run of so many steps within a budget of row-steps, and who goes on waiting."""
    taken: list[Job] = []
    left: deque[Job] = deque()
    row_steps = 0
    for job in waiting:
        fits = not taken or row_steps + job.width * steps <= budget
        if fits and job.steps - job.done >= steps:
            row_steps += job.width * steps
            taken.append(job)
        else:
            left.append(job)
    return taken, left
