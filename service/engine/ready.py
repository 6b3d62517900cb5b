"""Which jobs run together next: cellular batching with bounded chunks.

Jobs that wait are kept by (graph, chunk length); all jobs of one such group take the same number of steps in the
same run. Chunk lengths come from a short ladder, so that inputs of many lengths still meet. After BatchMaker
(Gao et al., "Low latency RNN inference with cellular batching", EuroSys 2018): jobs join and leave between runs,
and nobody waits for a batch to fill.
"""

from __future__ import annotations

from collections import deque

from service.contract.manifest import GraphName
from service.engine.job import Job

CHUNK_LADDER = (64, 16, 4, 1)
"""Chunk lengths in steps. A graph gives the same bits however its input is cut, so the ladder is free to choose."""

Group = tuple[GraphName, int]


class ReadyJobs:
    """The jobs that wait for a run.

    Args:
        step_budget: the most row-steps (rows × steps) of one run, which bounds how long it keeps others waiting.
    """

    def __init__(self, step_budget: int) -> None:
        self._step_budget = step_budget
        self._groups: dict[Group, deque[Job]] = {}
        self._single_step_was_last = False

    def __bool__(self) -> bool:
        return bool(self._groups)

    def add(self, job: Job) -> None:
        self._groups.setdefault((job.graph, self._chunk(job)), deque()).append(job)

    def next_batch(self) -> tuple[Group, list[Job]]:
        """The next group to run and its jobs, in the order they came.

        Single steps go first, but never twice in a row while something longer waits; the longer ones take turns.
        """
        longer_first = self._single_step_was_last
        # Groups stand in the order in which they began to wait, and the sort is stable.
        group = min(self._groups, key=lambda candidate: (candidate[1] == 1) == longer_first)
        self._single_step_was_last = group[1] == 1
        return group, self._take(group)

    def drain(self) -> list[Job]:
        """All jobs that wait, which then wait no more."""
        jobs = [job for group in self._groups.values() for job in group]
        self._groups.clear()
        return jobs

    def _chunk(self, job: Job) -> int:
        longest = min(job.steps - job.done, max(1, self._step_budget // job.width))
        return next(length for length in CHUNK_LADDER if length <= longest)

    def _take(self, group: Group) -> list[Job]:
        queue = self._groups.pop(group)
        jobs: list[Job] = []
        row_steps = 0
        while queue and (not jobs or row_steps + queue[0].width * group[1] <= self._step_budget):
            job = queue.popleft()
            row_steps += job.width * group[1]
            jobs.append(job)
        if queue:
            # Put back at the end: the other groups get their turn first.
            self._groups[group] = queue
        return jobs
