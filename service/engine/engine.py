"""The engine: a work-conserving step scheduler, one for each model, on a thread of its own.

gather rows → one graph run for all who wait → journal → scatter rows → answer. A run that fails changes no state and
answers everyone in it. Knows jobs, rows and runs; knows no clients and no sessions.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from threading import Condition, Thread
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from service.contract.manifest import GraphName
from service.engine.job import Commit, Job, Result
from service.engine.ready import ReadyJobs
from service.engine.state_table import Rows, StateTable
from service.errors import Cancelled, Overloaded, ShuttingDown, StepFailed, UnrollError
from service.journal import Entry, Journal
from service.models.model import Model

log = logging.getLogger(__name__)

RUN_SECONDS = 0.005
"""How long one run may take, about: what a single step that has just arrived waits at most for a longer one."""


Outcome = tuple[Job, Entry | None, Result | UnrollError]


class Watch(Protocol):
    """What the engine tells whoever counts; called on the engine's thread, `on_rejected` on the event loop."""

    def on_run(self, model: str, graph: str, rows: int, steps: int, seconds: float) -> None: ...

    def on_run_failed(self, model: str, graph: str) -> None: ...

    def on_queue(self, model: str, depth: int) -> None: ...

    def on_rejected(self, model: str) -> None: ...


class Engine:
    """Runs the jobs of one model.

    Args:
        step_budget: the most row-steps of one run; see `measured_step_budget`.
        capacity: rows in the state table.
        queue_limit: jobs that may wait; one more is refused before any work is done.
    """

    def __init__(
        self, model: Model, journal: Journal, watch: Watch, *, step_budget: int, capacity: int, queue_limit: int
    ) -> None:
        self.model = model
        self.table = StateTable(model.manifest.state.width, capacity)
        self.journal = journal
        self._watch = watch
        self._queue_limit = queue_limit
        self._ready = ReadyJobs(step_budget)
        self._arrived: deque[Job] = deque()
        self._waiting = 0
        self._wake = Condition()
        self._stopping = self._abandoned = False
        self._loop = asyncio.get_running_loop()
        self._thread = Thread(target=self._work, name=f"engine {model.manifest.id}", daemon=True)
        self._thread.start()

    def require_running(self) -> None:
        """Raises ShuttingDown where the engine takes nothing new."""
        if self._stopping:
            raise ShuttingDown()

    def submit(self, job: Job) -> asyncio.Future[Result]:
        """Queue a job; the future answers when it is done.

        Raises:
            Overloaded: as many jobs wait as may.
            ShuttingDown: the engine takes nothing new.
        """
        return self.submit_all([job])[0]

    def submit_all(self, jobs: Sequence[Job]) -> list[asyncio.Future[Result]]:
        """Queue the jobs of one request, all or none; raises as `submit` does."""
        assert all(job.steps > 0 for job in jobs), "a job takes at least one step"
        with self._wake:
            self.require_running()
            if self._waiting >= self._queue_limit:
                self._watch.on_rejected(self.model.manifest.name)
                raise Overloaded(f"{self._waiting} requests wait for model {self.model.manifest.id}: try again later")
            self._waiting += len(jobs)
            self._arrived.extend(jobs)
            self._wake.notify()
        return [job.answer for job in jobs]

    async def stop(self, grace_s: float) -> None:
        """Finish what waits, for at most `grace_s` seconds; refuse the rest."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        deadline = time.monotonic() + grace_s
        while self._waiting and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        with self._wake:
            self._abandoned = True
            leftover = [*self._arrived, *self._ready.drain()]
            self._arrived.clear()
        for job in leftover:
            job.settle(_not_carried_out())
        await asyncio.to_thread(self._thread.join, max(1.0, grace_s))

    # Everything below runs on the engine's own thread.

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._arrived and not self._ready:
                    if self._stopping:
                        return
                    self._wake.wait()
                while self._arrived:
                    self._ready.add(self._arrived.popleft())
                (graph, steps), jobs = self._ready.next_batch()
            self._count(self._watch.on_queue, self.model.manifest.name, self._waiting - len(jobs))
            self._run(graph, steps, jobs)

    def _run(self, graph: GraphName, steps: int, jobs: list[Job]) -> None:
        running: list[Job] = []
        outcomes: list[Outcome] = []
        for job in jobs:
            if job.cancelled:
                outcomes.append((job, None, Cancelled("the request was cancelled before it was carried out")))
            else:
                running.append(job)
        try:
            if running:
                self._advance(graph, steps, running)
        except Exception as error:
            self._count(self._watch.on_run_failed, self.model.manifest.name, graph)
            outcomes += self._failed(running, error)
        else:
            outcomes += self._finish([job for job in running if job.finished])
            outcomes += self._requeue([job for job in running if not job.finished])
        if outcomes:
            with self._wake:
                self._waiting -= len(outcomes)
            self._loop.call_soon_threadsafe(_deliver, outcomes)

    def _failed(self, jobs: list[Job], error: Exception) -> list[Outcome]:
        """The same answer for all who were in a run that failed; none of their sessions has moved."""
        if not isinstance(error, UnrollError) or error.__cause__ is not None:
            log.error("a run of model %s failed", self.model.manifest.id, exc_info=error)
        if not isinstance(error, UnrollError):
            error = StepFailed(f"a step of model {self.model.manifest.id} failed; no state was changed")
        return [(job, None, error) for job in jobs]

    def _requeue(self, jobs: list[Job]) -> list[Outcome]:
        with self._wake:
            if self._abandoned:
                return [(job, None, _not_carried_out()) for job in jobs]
            for job in jobs:
                self._ready.add(job)
        return []

    def _advance(self, graph: GraphName, steps: int, jobs: list[Job]) -> None:
        started = time.perf_counter()
        rows = self._gather(jobs)
        feeds = {"state": rows}
        for name in jobs[0].inputs:
            feeds[name] = np.concatenate([job.inputs[name][:, job.done : job.done + steps] for job in jobs])
        for name in jobs[0].constants:
            feeds[name] = np.concatenate([job.constants[name] for job in jobs])
        outputs = run_padded(self.model, graph, feeds)
        next_rows = outputs.pop("next_state")
        first = 0
        for job in jobs:
            part = slice(first, first + job.width)
            first += job.width
            job.advance({name: values[part] for name, values in outputs.items()}, next_rows[part])
        seconds = time.perf_counter() - started
        self._count(self._watch.on_run, self.model.manifest.name, graph, len(rows), len(rows) * steps, seconds)

    def _gather(self, jobs: list[Job]) -> Rows:
        """The rows (B, S) of all jobs, in order: scratch rows where a job has any, else its session's row."""
        if all(job.rows is None for job in jobs):
            return self.table.take([_commit_of(job).slot for job in jobs])
        return np.concatenate(
            [self.table.take([_commit_of(job).slot]) if job.rows is None else job.rows for job in jobs], axis=0
        )

    def _finish(self, finished: list[Job]) -> list[Outcome]:
        """Results of jobs that are done; those that commit are in the journal and the state table by then."""
        outcomes: list[Outcome] = []
        committing: list[tuple[Job, Result]] = []
        for job in finished:
            if job.commit is None:
                outcomes.append((job, None, job.result()))
            elif job.cancelled:
                outcomes.append((job, None, Cancelled("the request was cancelled before it was committed")))
            else:
                committing.append((job, job.result()))
        if committing:
            try:
                outcomes += self._commit(committing)
            except Exception as error:
                outcomes += self._failed([job for job, _ in committing], error)
        return outcomes

    def _commit(self, committing: list[tuple[Job, Result]]) -> list[Outcome]:
        entries = [_commit_of(job).entry(result) for job, result in committing]
        self.journal.commit(entries)
        slots = [_commit_of(job).slot for job, _ in committing]
        self.table.put(slots, np.concatenate([result.rows for _, result in committing]))
        return [(job, entry, result) for (job, result), entry in zip(committing, entries, strict=True)]

    def _count(self, hook: Callable[..., None], *facts: Any) -> None:
        """Tell the watch; what goes wrong there is logged and stops nobody."""
        try:
            hook(*facts)
        except Exception:
            log.exception("counting failed")


def _deliver(outcomes: list[Outcome]) -> None:
    """On the event loop: move the sessions, then answer."""
    for job, entry, outcome in outcomes:
        if entry is not None and job.commit is not None and isinstance(outcome, Result):
            job.commit.apply(entry, outcome)
        job.settle(outcome)


def _commit_of(job: Job) -> Commit:
    assert job.commit is not None, "a job without rows of its own starts from its session's row"
    return job.commit


def _not_carried_out() -> ShuttingDown:
    return ShuttingDown("the service is shutting down: this request was not carried out; try it again in a moment")


def run_padded(model: Model, graph: GraphName, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Run a graph, with copies of the last row where the model is exact only from some batch size on."""
    batch = len(feeds["state"])
    missing = model.manifest.minimum_batch - batch
    if missing <= 0:
        return dict(model.graphs[graph].run(feeds))
    padded = {name: np.concatenate([values, np.repeat(values[-1:], missing, 0)]) for name, values in feeds.items()}
    return {name: values[:batch] for name, values in model.graphs[graph].run(padded).items()}


def measured_step_budget(model: Model) -> int:
    """Row-steps that one run may take to last about RUN_SECONDS, measured; it changes speed and never bits."""
    rows, steps = max(4, model.manifest.minimum_batch), 16
    feeds = model.example_inputs("observe", rows, steps)
    fastest = min(_timed(model, feeds) for _ in range(3))
    return int(np.clip(RUN_SECONDS * rows * steps / fastest, 16, 4096))


def _timed(model: Model, feeds: Mapping[str, NDArray[Any]]) -> float:
    started = time.perf_counter()
    model.graphs["observe"].run(feeds)
    return time.perf_counter() - started
