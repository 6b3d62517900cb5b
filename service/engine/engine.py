"""The engine: a work-conserving step scheduler, one for each model, on a thread of its own.

gather rows → one graph run for all who wait → scatter rows → journal → answer. While a commit is on its way the next
run begins, for others. A run that fails changes no state and answers everyone in it. Knows jobs, rows and runs; knows
no clients and no sessions.

A brief run that nobody is before is made at once on the event loop: handing it to another thread and back, and two
threads taking turns at the interpreter, would take longer than standing still for it. Whoever makes a run holds
`_working` meanwhile, so that there is one at a time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Protocol

from service.engine.calibration import Calibration
from service.engine.committing import Committing
from service.engine.job import Job, Result, Settled, future_of
from service.engine.ready import ReadyJobs
from service.engine.runner import BatchRunner, RunWatch, count
from service.engine.statistics import Statistics
from service.engine.tables import table_of
from service.errors import JournalDamaged, JournalUnavailable, Overloaded, ShuttingDown
from service.journal.writer import Writer
from service.models.model import Model

log = logging.getLogger(__name__)


class Watch(RunWatch, Protocol):
    """What the engine tells whoever counts, on whatever thread a run is made; `on_rejected` on the event loop."""

    def on_queue(self, model: str, depth: int) -> None: ...

    def on_rejected(self, model: str) -> None: ...


class Engine:
    """Runs the jobs of one model.

    Jobs are handed over once for each turn of the event loop and answered in one callback for each run, however many
    they are: between threads, a hand-off costs more than most steps.

    Args:
        writer: of a journal that outlives the process; None where there is none.
        calibration: what fits into a run; see `calibrate`.
        capacity: rows in the state table.
        queue_limit: jobs that may wait; one more is refused before any work is done.
    """

    def __init__(
        self,
        model: Model,
        writer: Writer | None,
        watch: Watch,
        *,
        calibration: Calibration,
        capacity: int,
        queue_limit: int,
    ) -> None:
        self.model = model
        self.table = table_of(model, capacity)
        self.durable = writer is not None
        """Whether what sessions commit outlives the process."""
        self._committing = None if writer is None else Committing(writer, self._tell)
        self._runner = BatchRunner(model, self.table, self.durable, watch)
        self._watch = watch
        self._queue_limit = queue_limit
        self._ready = ReadyJobs(calibration.step_budgets)
        # Appending and taking from the left are atomic, so that the two threads share no lock.
        self._arrived: deque[Job] = deque()
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._will_ring = False
        self._working = Lock()
        self._brief_rows = calibration.brief_rows
        self._waiting = 0
        self._stopping = self._abandoned = False
        self._loop = asyncio.get_running_loop()
        self._thread = Thread(target=self._work, name=f"engine {model.manifest.id}", daemon=True)
        self._thread.start()

    @property
    def statistics(self) -> Statistics:
        """What the engine has done so far."""
        return self._runner.statistics

    @property
    def is_full(self) -> bool:
        """Whether as many jobs wait as may."""
        return self._waiting >= self._queue_limit

    def require_running(self) -> None:
        """Raises ShuttingDown where the engine takes nothing new."""
        if self._stopping:
            raise ShuttingDown()

    def submit(self, job: Job) -> asyncio.Future[Result]:
        """Queue a job; the future answers when it is done, and drops the job when it is cancelled.

        Raises:
            Overloaded: as many jobs wait as may.
            ShuttingDown: the engine takes nothing new.
        """
        return self.submit_all([job])[0]

    def submit_all(self, jobs: Sequence[Job]) -> list[asyncio.Future[Result]]:
        """Queue the jobs of one request, all or none; raises as `submit` does."""
        answers = [future_of(job) for job in jobs]
        self.post(*jobs)
        return answers

    def post(self, *jobs: Job) -> None:
        """Queue the jobs of one request, which are told of their outcomes themselves; raises as `submit` does."""
        self.require_running()
        if self.is_full:
            self._watch.on_rejected(self.model.manifest.name)
            raise Overloaded(f"{self._waiting} requests wait for model {self.model.manifest.id}: try again later")
        self._waiting += len(jobs)
        self._arrived.extend(jobs)
        if not self._will_ring:
            # At the end of this turn of the loop: whatever else it has received by then goes into the same run.
            self._will_ring = True
            self._loop.call_soon(self._ring)

    def _ring(self) -> None:
        self._will_ring = False
        if not self._make_brief_run():
            self._bell.put(None)

    def _make_brief_run(self) -> bool:
        """Make the run of what has arrived here and now, if it is brief and nobody is before it; whether it was."""
        if len(self._arrived) > self._brief_rows or self._ready or not self._working.acquire(blocking=False):
            return False
        try:
            if self._ready or self._abandoned or not all(self._is_brief(job) for job in self._arrived):
                return False
            settled = self._next_run()
        finally:
            self._working.release()
        self._deliver(settled)
        return not self._ready

    async def stop(self, grace_s: float) -> None:
        """Finish what waits, for at most `grace_s` seconds; refuse the rest."""
        self._stopping = True
        self._bell.put(None)
        deadline = time.monotonic() + grace_s
        while self._waiting and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        self._abandoned = True
        self._bell.put(None)
        # What has not begun is refused now, whatever the run that is on takes.
        self._deliver([(job, _not_carried_out()) for job in self._take_arrived()])
        await asyncio.to_thread(self._thread.join, max(1.0, grace_s))

    def _deliver(self, settled: list[Settled]) -> None:
        """On the event loop: move the sessions, then answer."""
        self._waiting -= len(settled)
        self._record(settled)
        for job, outcome in settled:
            try:
                if job.commit is not None:
                    if isinstance(outcome, Result):
                        job.commit.apply(outcome)
                    elif isinstance(outcome, JournalUnavailable | JournalDamaged):
                        job.commit.discard()
                job.settle(outcome)
            except Exception:
                log.exception("an answer of model %s could not be handed out", self.model.manifest.id)

    def _take_arrived(self) -> list[Job]:
        jobs: list[Job] = []
        while True:
            try:
                jobs.append(self._arrived.popleft())
            except IndexError:
                return jobs

    def _record(self, settled: list[Settled]) -> None:
        """Count what became of jobs, from their arrival on."""
        now, statistics = time.perf_counter_ns(), self.statistics
        for job, outcome in settled:
            if isinstance(outcome, Result):
                statistics.success.count += 1
                statistics.success.ns += now - job.arrived
                statistics.inferences += job.width
            else:
                statistics.fail.add(1, now - job.arrived)

    def _tell(self, settled: list[Settled]) -> None:
        """Have outcomes delivered, from any thread."""
        self._loop.call_soon_threadsafe(self._deliver, settled)

    def _is_brief(self, job: Job) -> bool:
        return job.steps == job.width == 1 and self.model.graphs[job.graph].any_thread

    # Everything below runs on the engine's own thread, or where a brief run is made.

    def _work(self) -> None:
        while True:
            with self._working:
                if self._abandoned:
                    self._take_up()
                    self._tell([(job, _not_carried_out()) for job in self._ready.drain()])
                    return
                settled = self._next_run()
            if settled:
                self._tell(settled)
            elif not self._ready and not self._arrived:
                self._bell.get()

    def _next_run(self) -> list[Settled]:
        """Make the next run, if anybody waits for one; what became of those it was the last for."""
        self._take_up()
        if not self._ready:
            return []
        graph, steps, jobs = self._ready.next_batch()
        count(self._watch.on_queue, self.model.manifest.name, len(self._ready) + len(self._arrived))
        settled = self._runner.run(graph, steps, jobs)
        if len(settled) < len(jobs):
            done_with = {id(job) for job, _ in settled}
            for job in jobs:
                if id(job) not in done_with:
                    self._ready.add(job)
        return settled if self._committing is None else self._committing.hold_back(settled)

    def _take_up(self) -> None:
        for job in self._take_arrived():
            self._ready.add(job)


def _not_carried_out() -> ShuttingDown:
    return ShuttingDown("the service is shutting down: this request was not carried out; try it again in a moment")
