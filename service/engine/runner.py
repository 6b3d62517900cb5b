"""One run of a batch of jobs: rows in, the graph, rows back. Knows no queue, no loop and no journal.

Everything here happens on one thread at a time, the engine's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from service.contract.manifest import GraphName
from service.engine.job import Commit, Job, Result, Settled
from service.engine.run import Run
from service.engine.statistics import BatchStatistics, Statistics
from service.engine.tables import Runs, Table, runs_of
from service.errors import Cancelled, StepFailed, UnrollError
from service.models.graph_run import GraphRun
from service.models.model import Model

log = logging.getLogger(__name__)


class RunWatch(Protocol):
    """What whoever counts is told of runs, on the engine's thread."""

    def on_run(self, model: str, graph: str, rows: int, steps: int, seconds: float) -> None: ...

    def on_pit(self, model: str, pit: NDArray[Any]) -> None: ...

    def on_run_failed(self, model: str, graph: str) -> None: ...


class BatchRunner:
    """Runs batches of jobs of one model on the rows of its state table.

    Args:
        durable: whether a journal is to have the rows that are committed.
    """

    def __init__(self, model: Model, table: Table, durable: bool, watch: RunWatch) -> None:
        self.statistics = Statistics()
        self._model = model
        self._table = table
        self._durable = durable
        self._watch = watch
        self._runs: dict[GraphName, Runs] = {}

    def run(self, graph: GraphName, steps: int, jobs: list[Job]) -> list[Settled]:
        """Take the jobs so many steps further in one run; returns what became of those that are done with.

        A run that fails changes no state and is the outcome of everyone in it.
        """
        running = [job for job in jobs if not job.cancelled]
        settled: list[Settled] = []
        if len(running) < len(jobs):
            still = set(map(id, running))
            refused = Cancelled("the request was cancelled before it was carried out")
            settled += [(job, refused) for job in jobs if id(job) not in still]
        try:
            if running:
                settled += self._advance(graph, steps, running)
        except Exception as error:
            count(self._watch.on_run_failed, self._model.manifest.name, graph)
            settled += self._failed(running, error)
        return settled

    def _failed(self, jobs: list[Job], error: Exception) -> list[Settled]:
        """The same answer for all who were in a run that failed; none of their sessions has moved."""
        if not isinstance(error, UnrollError) or error.__cause__ is not None:
            log.error("a run of model %s failed", self._model.manifest.id, exc_info=error)
        if not isinstance(error, UnrollError):
            error = StepFailed(f"a step of model {self._model.manifest.id} failed; no state was changed")
        return [(job, error) for job in jobs]

    def _advance(self, graph: GraphName, steps: int, jobs: list[Job]) -> list[Settled]:
        started = time.perf_counter_ns()
        places = _places(jobs)
        prepared = self._runs_of(graph).of(places[-1] + jobs[-1].width, steps)
        self._gather(jobs, places, prepared)
        for name in jobs[0].inputs:
            _fill(prepared.inputs[name], [_steps_of(job, name, steps) for job in jobs])
        for name in jobs[0].constants or ():
            np.concatenate([(job.constants or {})[name] for job in jobs], out=prepared.inputs[name])
        self._count_waits(jobs, started)
        gathered = time.perf_counter_ns()
        outputs = prepared.run()
        ran = time.perf_counter_ns()
        # Where every row only goes back to its slot, none of them needs to come to the host.
        wanted = not all(job.ends_here(steps) for job in jobs) or (self._durable and any(map(_is_stored, jobs)))
        wanted &= graph != "forecast"  # which leaves every row as it is
        run = Run(outputs, prepared.next_rows() if wanted else None, steps)
        results = [job.advance(run, place) for job, place in zip(jobs, places, strict=True)]
        settled = self._finish(jobs, results, places, prepared)
        self._count_run(graph, prepared, gathered - started, ran - gathered, time.perf_counter_ns() - ran)
        if "pit" in outputs:
            count(self._watch.on_pit, self._model.manifest.name, outputs["pit"])
        return settled

    def _runs_of(self, graph: GraphName) -> Runs:
        """The graph's prepared runs, made on the thread that uses them."""
        runs = self._runs.get(graph)
        if runs is None:
            runs = self._runs[graph] = runs_of(self._model, graph, self._table)
        return runs

    def _gather(self, jobs: list[Job], places: Sequence[int], prepared: GraphRun) -> None:
        """Let the run start from all jobs' rows: scratch rows where a job has any, else its session's."""
        resident = [place for job, place in zip(jobs, places, strict=True) if job.rows is None]
        if len(resident) == prepared.batch:
            slots = np.array([_commit_of(job).slot for job in jobs], np.intp)
            self._table.gather(slots, prepared)
            self._table.touch(slots)
            return
        if resident:
            slots = np.zeros(prepared.batch, np.intp)
            slots[resident] = [_commit_of(job).slot for job in jobs if job.rows is None]
            self._table.gather(slots, prepared)
            self._table.touch(slots[resident])
        scratch = [(job.rows, place) for job, place in zip(jobs, places, strict=True) if job.rows is not None]
        which = [place + row for rows, place in scratch for row in range(len(rows))]
        prepared.set_rows(which, np.concatenate([rows for rows, _ in scratch]))

    def _finish(
        self, jobs: list[Job], results: list[Result | None], places: Sequence[int], prepared: GraphRun
    ) -> list[Settled]:
        """What became of jobs that are done; the rows of those that commit are in the state table by then."""
        settled: list[Settled] = []
        committing: list[tuple[Job, Result]] = []
        which: list[int] = []
        for job, result, place in zip(jobs, results, places, strict=True):
            if result is None:
                continue
            if job.commit is None:
                settled.append((job, result))
            elif job.cancelled:
                settled.append((job, Cancelled("the request was cancelled before it was committed")))
            else:
                committing.append((job, result))
                which.append(place)
        if committing:
            try:
                self._commit(committing, which, prepared)
            except Exception as error:
                settled += self._failed([job for job, _ in committing], error)
            else:
                settled += committing
        return settled

    def _commit(self, committing: list[tuple[Job, Result]], which: list[int], prepared: GraphRun) -> None:
        slots = [_commit_of(job).slot for job, _ in committing]
        if len(which) == prepared.batch:
            self._table.scatter(slots, prepared)
        else:
            self._table.scatter(slots, prepared, which)

    def _count_waits(self, jobs: list[Job], started: int) -> None:
        """Count how long the jobs that begin with this run have waited for it."""
        waits = [started - job.arrived for job in jobs if job.done == 0]
        self.statistics.queue.add(len(waits), sum(waits))

    def _count_run(self, graph: GraphName, prepared: GraphRun, gather: int, run: int, answer: int) -> None:
        """Count one run and what each of its parts took, in nanoseconds."""
        statistics, rows = self.statistics, prepared.batch
        statistics.last_inference = time.time()
        batch = statistics.batches.get(rows)
        if batch is None:
            batch = statistics.batches[rows] = BatchStatistics()
        batch.gather.add(1, gather)
        batch.run.add(1, run)
        batch.answer.add(1, answer)
        count(self._watch.on_run, self._model.manifest.name, graph, rows, rows * prepared.steps, (gather + run) * 1e-9)


def count(hook: Callable[..., None], *facts: Any) -> None:
    """Tell the watch; what goes wrong there is logged and stops nobody."""
    try:
        hook(*facts)
    except Exception:
        log.exception("counting failed")


def _places(jobs: list[Job]) -> Sequence[int]:
    """The place of each job's first row in the batch of all."""
    if all(job.rows is None for job in jobs):
        return range(len(jobs))
    return [0, *accumulate(job.width for job in jobs[:-1])]


def _fill(into: NDArray[Any], parts: list[NDArray[Any] | list[Any]]) -> None:
    """Write what all jobs give for one input, one after the other, into the run's array (B, T, …)."""
    if all(type(part) is list for part in parts):
        into[...] = np.array(parts, into.dtype).reshape(into.shape)
        return
    shape = (1, *into.shape[1:])
    arrays = [np.array(part, into.dtype).reshape(shape) if isinstance(part, list) else part for part in parts]
    np.concatenate(arrays, out=into)


def _steps_of(job: Job, name: str, steps: int) -> NDArray[Any] | list[Any]:
    """The part (R, steps, …) of a job's input that the next run takes."""
    whole = job.inputs[name]
    if isinstance(whole, list) or whole.shape[1] == steps:
        return whole
    return whole[:, job.done : job.done + steps]


def _is_stored(job: Job) -> bool:
    return job.commit is not None and job.commit.durability != "none"


def _commit_of(job: Job) -> Commit:
    assert job.commit is not None, "a job without rows of its own starts from its session's row"
    return job.commit
