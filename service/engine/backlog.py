"""How long what waits for one engine will take, and whether more may join it.

A bound on how many jobs wait says little: a single step takes microseconds, a forecast of many sample paths
milliseconds. What keeps the latency of those who are accepted is a bound on the time before them, learned from the
runs as they are. Jobs take turns, so that a shorter one is done before a longer one that came earlier: before a job
lie those that are shorter than itself, and of every longer one as much as it takes itself. Owners take turns as well:
of every other owner's work, as much lies before a job as of its own owner's, the job itself included.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import frexp

from service.contract.manifest import GraphName
from service.engine.job import Job

SLOWDOWN = 64
"""How many times as long as a request itself takes it may have to wait at any rate, and how many jobs of an owner may
wait at any rate: as if so many took turns."""
_DOUBT = 1.05
"""By how much runs are held for slower at each, until one shows that they are not: whoever else uses the machine makes
a run longer now and then, and nothing makes one shorter."""
_LEAST = 0.01
"""Of how much longer runs take: from nothing, doubt would lead nowhere."""
_SIZES = 32
_SHORTEST = -20
"""Sizes are powers of two seconds; the first holds everything of a microsecond or less, the last all from 2048 s."""


class _Tally:
    """One owner's work that waits. Single steps of one row, which are most, cost alike and are only counted."""

    __slots__ = ("counts", "longer", "seconds", "steps")

    def __init__(self) -> None:
        self.steps = 0
        self.longer = 0
        self.counts: list[int] = []
        """By size, how many longer jobs wait, and the seconds they take together."""
        self.seconds: list[float] = []

    def before(self, cost: float, step: float) -> float:
        """Seconds of this work that lie before a job of that cost, where a single step takes `step` of them."""
        seconds = self.steps * step
        if self.longer:
            size = _size(cost)
            seconds += sum(self.seconds[: size + 1]) + sum(self.counts[size + 1 :]) * cost
        return seconds

    def add(self, cost: float) -> None:
        if not self.counts:
            self.counts, self.seconds = [0] * _SIZES, [0.0] * _SIZES
        size = _size(cost)
        self.longer += 1
        self.counts[size] += 1
        self.seconds[size] += cost

    def remove(self, cost: float) -> None:
        size = _size(cost)
        self.longer -= 1
        self.counts[size] -= 1
        # What rounding leaves must not stay for ever.
        self.seconds[size] = self.seconds[size] - cost if self.counts[size] else 0.0


class Backlog:
    """The jobs that wait, in seconds of the engine's time. Runs may be noted on another thread than all else.

    Costs are told as they were when the model was first measured, so that what is added and what is taken away are
    the same; how much slower runs have been of late applies to all of them alike.

    Args:
        limit_s: seconds of work that may lie before a request, past which it is not admitted.
        seconds_per_step: by graph, what a row's step costs in a wide run.
    """

    def __init__(self, limit_s: float, seconds_per_step: Mapping[GraphName, float]) -> None:
        self._limit_s = limit_s
        self._each = seconds_per_step
        self._slower = 1.0
        """How much longer than measured runs have taken of late."""
        self._of: dict[str | None, _Tally] = {None: _Tally()}
        """By owner; the work that is nobody's own stays among them."""

    def cost_of(self, jobs: Iterable[Job]) -> float:
        """Seconds that jobs take."""
        return sum(job.steps * job.width * self._each[job.graph] for job in jobs)

    def cost_of_steps(self, graph: GraphName, row_steps: int) -> float:
        """Seconds that so many row-steps take."""
        return row_steps * self._each[graph]

    def before(self, owner: str | None, cost: float) -> float:
        """Seconds until an owner's request of that cost would be done if it came now, itself not counted."""
        step, tally = self._each["observe"], self._of.get(owner)
        own = 0.0 if tally is None else tally.before(cost, step)
        others = (other for other in self._of.values() if other is not tally)
        return self._slower * (own + sum(min(other.before(cost, step), own + cost) for other in others))

    def admits(self, jobs: Sequence[Job]) -> bool:
        """Whether the jobs of one request, which have one owner, may join."""
        owner = jobs[0].owner
        tally = self._of.get(owner)
        if tally is None or tally.steps + tally.longer < SLOWDOWN:
            return True
        return self.admits_cost(owner, self.cost_of(jobs))

    def admits_cost(self, owner: str | None, cost: float) -> bool:
        """Whether a request of that cost may join."""
        return self.before(owner, cost) <= self._limit_s + SLOWDOWN * self._slower * cost

    def add(self, job: Job) -> None:
        """A job waits."""
        if _is_step(job):
            self._tally(job.owner).steps += 1
        else:
            job.cost = self.cost_of([job])
            self.add_cost(job.owner, job.cost)

    def add_cost(self, owner: str | None, cost: float) -> None:
        """Work of that cost waits."""
        self._tally(owner).add(cost)

    def remove(self, job: Job) -> None:
        """A job that was added waits no more."""
        if _is_step(job):
            tally = self._of[job.owner]
            tally.steps -= 1
            self._drop_if_empty(job.owner, tally)
        else:
            self.remove_cost(job.owner, job.cost)

    def remove_cost(self, owner: str | None, cost: float) -> None:
        """Work of that cost, added before, waits no more."""
        tally = self._of[owner]
        tally.remove(cost)
        self._drop_if_empty(owner, tally)

    def note_run(self, graph: GraphName, steps: int, rows: int, seconds: float) -> None:
        """A run of so many steps for so many rows took that long, whatever else kept the engine busy included."""
        took = seconds / (steps * rows * self._each[graph])
        self._slower = max(min(_DOUBT * self._slower, took), _LEAST)

    def _tally(self, owner: str | None) -> _Tally:
        tally = self._of.get(owner)
        if tally is None:
            tally = self._of[owner] = _Tally()
        return tally

    def _drop_if_empty(self, owner: str | None, tally: _Tally) -> None:
        if owner is not None and not tally.steps and not tally.longer:
            del self._of[owner]


def _is_step(job: Job) -> bool:
    return job.steps == job.width == 1 and job.graph == "observe"


def _size(cost: float) -> int:
    return min(max(frexp(cost)[1] - _SHORTEST, 0), _SIZES - 1)
