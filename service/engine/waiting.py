"""Jobs of one kind that wait for a run: one owner's in the order they came, several owners' in turns.

Where more wait than fit into a run, the owner that has had the least goes next, counted in row-steps. After start-time
fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996): who begins to wait is level with whoever has had the least of those
who wait already, so that nobody saves up turns, and a single job goes second at the latest, however many jobs another
owner has.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heapreplace
from itertools import chain

from service.engine.job import Job

Had = dict[str | None, int]
"""The row-steps that owners have had, since they began to wait."""


class Waiting:
    """The jobs of one kind."""

    __slots__ = ("_by_owner",)

    def __init__(self) -> None:
        self._by_owner: dict[str | None, deque[Job]] = {}

    def __iter__(self) -> Iterator[Job]:
        return chain.from_iterable(self._by_owner.values())

    def __bool__(self) -> bool:
        return bool(self._by_owner)

    @property
    def owners(self) -> Iterable[str | None]:
        """Who waits, those who began to first."""
        return self._by_owner

    def add(self, job: Job) -> bool:
        """Let a job wait; whether its owner begins to wait with it."""
        queue = self._by_owner.get(job.owner)
        if queue is None:
            self._by_owner[job.owner] = deque((job,))
            return True
        queue.append(job)
        return False

    def first(self, had: Had) -> Job:
        """The job whose turn it is; there must be one."""
        return self._by_owner[min(self._by_owner, key=had.__getitem__)][0]

    def take(self, steps: int, budget: int, had: Had) -> list[Job]:
        """Those who take part in a run of so many steps within a budget of row-steps, in their turns.

        The first does at any rate. Everyone else goes on waiting.
        """
        if len(self._by_owner) == 1:
            return self._take_of_one(steps, budget, had)
        return self._take_in_turns(steps, budget, had)

    def _take_of_one(self, steps: int, budget: int, had: Had) -> list[Job]:
        ((owner, queue),) = self._by_owner.items()
        taken: list[Job] = []
        left: list[Job] = []
        room = budget
        for job in queue:
            cost = job.width * steps
            if (cost <= room or not taken) and job.steps - job.done >= steps:
                room -= cost
                taken.append(job)
            else:
                left.append(job)
        had[owner] += budget - room
        self._by_owner = {owner: deque(left)} if left else {}
        return taken

    def _take_in_turns(self, steps: int, budget: int, had: Had) -> list[Job]:
        able = {owner: iter([job for job in queue if job.steps - job.done >= steps]) for owner, queue in self._items()}
        # Among those who have had the same, who began to wait first.
        turns = [(had[owner], place, owner) for place, owner in enumerate(self._by_owner)]
        heapify(turns)
        taken: dict[int, Job] = {}
        room = budget
        while turns and (room >= steps or not taken):
            _, place, owner = turns[0]
            job = next(able[owner], None)
            if job is None:
                heappop(turns)
            elif (cost := job.width * steps) <= room or not taken:
                room -= cost
                had[owner] += cost
                taken[id(job)] = job
                heapreplace(turns, (had[owner], place, owner))
        left = {owner: deque([job for job in queue if id(job) not in taken]) for owner, queue in self._items()}
        self._by_owner = {owner: queue for owner, queue in left.items() if queue}
        return list(taken.values())

    def _items(self) -> Iterable[tuple[str | None, deque[Job]]]:
        return self._by_owner.items()
