"""Which jobs run together next: cellular batching with bounded chunks.

Jobs wait by graph, those with a single step to take apart from the longer ones. A run takes the same number of steps
for everyone in it: as many as its budget allows for all who wait, and no more than the first of them has left. After
BatchMaker (Gao et al., "Low latency RNN inference with cellular batching", EuroSys 2018): jobs join and leave between
runs, and nobody waits for a batch to fill. Where several owners' jobs wait, owners take turns (see `waiting`).
"""

from __future__ import annotations

from collections.abc import Mapping

from service.contract.manifest import GraphName
from service.engine.job import Job
from service.engine.waiting import Had, Waiting

CHUNK_LADDER = (64, 32, 16, 8, 4, 2, 1)
"""Chunk lengths in steps, few, so that inputs of many lengths still meet and runs have few shapes. A graph gives the
same bits however its input is cut, so the ladder is free to choose."""

LONG_LADDER = (4096, 2048, 1024, 512, 256, 128, *CHUNK_LADDER)
"""Of `prefill`, whose steps cost next to nothing beside the run itself."""

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
        self._queues: dict[tuple[GraphName, bool], Waiting] = {}
        """By graph and whether a single step is left; in the order in which they began to wait."""
        self._had: Had = {}
        self._count = 0
        self._single_step_was_last = False

    def __len__(self) -> int:
        return self._count

    def add(self, job: Job) -> None:
        kind = (job.graph, job.steps - job.done == 1)
        waiting = self._queues.get(kind)
        if waiting is None:
            waiting = self._queues[kind] = Waiting()
        self._count += 1
        if waiting.add(job):
            self._begin_to_wait(job.owner)

    def _begin_to_wait(self, owner: str | None) -> None:
        """An owner has had as much as whoever has had the least of those who wait, or more."""
        if self._count == 1:
            self._had = {owner: 0}
            return
        others = {one for waiting in self._queues.values() for one in waiting.owners if one != owner}
        least = min([self._had[one] for one in others], default=0)
        self._had[owner] = max(self._had.get(owner, 0), least)

    def next_batch(self) -> tuple[GraphName, int, list[Job]]:
        """The graph to run next, the steps to take, and the jobs to take them, in the order of their turns.

        Single steps go first, but never twice in a row while something longer waits; the graphs take turns.
        """
        longer_first = self._single_step_was_last
        # Among alike, the one that began to wait first goes first.
        chosen = next((kind for kind in self._queues if kind[1] != longer_first), None) or next(iter(self._queues))
        self._single_step_was_last = chosen[1]
        graph, waiting = chosen[0], self._queues.pop(chosen)
        steps = 1 if chosen[1] else self._chunk(graph, waiting)
        taken = waiting.take(steps, self._step_budgets[graph], self._had)
        if waiting:
            # Put back at the end: the others get their turn first.
            self._queues[chosen] = waiting
        self._count -= len(taken)
        return graph, steps, taken

    def drain(self) -> list[Job]:
        """All jobs that wait, which then wait no more."""
        jobs = [job for waiting in self._queues.values() for job in waiting]
        self._queues.clear()
        self._count = 0
        return jobs

    def _chunk(self, graph: GraphName, waiting: Waiting) -> int:
        """Steps for a run of those who wait, of whom the first takes part."""
        rows = 0
        for job in waiting:
            rows += job.width
            if rows >= WIDEST:
                break
        first = waiting.first(self._had)
        # One job wider than that is cut shorter; several share the run by its budget.
        rows = max(min(rows, WIDEST), first.width)
        longest = min(first.steps - first.done, max(1, self._step_budgets[graph] // rows))
        ladder = LONG_LADDER if graph == "prefill" else CHUNK_LADDER
        return next(length for length in ladder if length <= longest)
