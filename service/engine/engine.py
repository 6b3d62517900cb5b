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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Lock, Thread
from typing import NoReturn, Protocol

from service.contract.manifest import GraphName
from service.engine.admission import is_admitted, note_admitted
from service.engine.backlog import Backlog
from service.engine.calibration import RUN_SECONDS, Calibration
from service.engine.committing import Committing
from service.engine.job import Job, Result, Settled, future_of
from service.engine.owner import working_for
from service.engine.ready import ReadyJobs
from service.engine.runner import BatchRunner, RunWatch, count
from service.engine.statistics import Statistics
from service.engine.tables import table_of
from service.errors import JournalDamaged, JournalUnavailable, Overloaded, ShuttingDown
from service.journal.writer import Writer
from service.models.model import Model

log = logging.getLogger(__name__)


QUEUE_SECONDS = 0.1


AT_ONCE = 64
"""Jobs that are answered in one turn of the event loop."""


class Watch(RunWatch, Protocol):
    """What the engine tells whoever counts, on whatever thread a run is made; `on_rejected` on the event loop."""

    def on_queue(self, model: str, depth: int) -> None: ...

    def on_rejected(self, model: str) -> None: ...


class Meter(Protocol):
    """Who counts what owners take of the engine."""

    def charge(self, owner: str | None, steps: int) -> None:
        """Row-steps were asked for; called on the event loop for each job."""


class Engine:
    """Runs the jobs of one model.

    Jobs are handed over once for each turn of the event loop and answered in one callback for each run, however many
    they are: between threads, a hand-off costs more than most steps.

    Args:
        writer: of a journal that outlives the process; None where there is none.
        calibration: what fits into a run; see `calibrate`.
        capacity: rows in the state table.
        queue_limit: jobs that may wait; one more is refused before any work is done. Of those that belong to an owner,
            no more than there is room left: however much one sends, it has half of the queue at most, and the next
            owner half of what is left. After dynamic queue length thresholds (Choudhury and Hahne, IEEE/ACM
            Transactions on Networking 6(2), 1998).
        queue_seconds: of work that may lie before a request, past which it is refused (see `backlog`). A request that
            was admitted once goes on, however many jobs it takes.
        meter: told of every job that is taken.
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
        queue_seconds: float = QUEUE_SECONDS,
        meter: Meter | None = None,
    ) -> None:
        self.model = model
        self.table = table_of(model, capacity)
        self.durable = writer is not None
        """Whether what sessions commit outlives the process."""
        self._committing = None if writer is None else Committing(writer, self._tell)
        self._runner = BatchRunner(model, self.table, self.durable, watch)
        self._watch = watch
        self._queue_limit = queue_limit
        self._meter = meter
        self._backlog = Backlog(
            queue_seconds, {graph: RUN_SECONDS / budget for graph, budget in calibration.step_budgets.items()}
        )
        self._ran_until = 0.0
        """When the last run ended, if the next was waited for then."""
        self._ready = ReadyJobs(calibration.step_budgets)
        # Appending and taking from the left are atomic, so that the two threads share no lock.
        self._arrived: deque[Job] = deque()
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._will_ring = False
        self._working = Lock()
        self._brief_rows = calibration.brief_rows
        self._brief_forecast = calibration.brief_forecast
        self._waiting = 0
        self._waiting_of: dict[str, int] = {}
        self._stopping = self._abandoned = False
        self._loop = asyncio.get_running_loop()
        self._thread = Thread(target=self._work, name=f"engine {model.manifest.id}", daemon=True)
        self._thread.start()

    @property
    def statistics(self) -> Statistics:
        """What the engine has done so far."""
        return self._runner.statistics

    def is_full(self, owner: str | None) -> bool:
        """Whether as many jobs wait as may, or as many of this owner's."""
        room = self._queue_limit - self._waiting
        return room <= 0 or (owner is not None and self._waiting_of.get(owner, 0) >= room)

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
        owner = jobs[0].owner
        if (self.is_full(owner) or not self._backlog.admits(jobs)) and not is_admitted():
            self._refuse(owner, self._backlog.before(owner, self._backlog.cost_of(jobs)))
        note_admitted()
        for job in jobs:
            self._backlog.add(job)
        self._waiting += len(jobs)
        if owner is not None:
            self._waiting_of[owner] = self._waiting_of.get(owner, 0) + len(jobs)
        if self._meter is not None:
            for job in jobs:
                self._meter.charge(owner, job.width * job.steps)
        self._arrived.extend(jobs)
        if not self._will_ring:
            # At the end of this turn of the loop: whatever else it has received by then goes into the same run.
            self._will_ring = True
            self._loop.call_soon(self._ring)

    @contextmanager
    def room_for(self, row_steps: Mapping[GraphName, int]) -> Iterator[None]:
        """Keep room for what a request is going to ask for, until the context ends: with the last of it on its way.

        Args:
            row_steps: by graph, rows × steps of all its jobs together.

        Raises:
            Overloaded: there is none; nothing was done in vain.
        """
        backlog, owner = self._backlog, working_for.get()
        cost = sum(backlog.cost_of_steps(graph, count) for graph, count in row_steps.items())
        if not backlog.admits_cost(owner, cost) and not is_admitted():
            self._refuse(owner, backlog.before(owner, cost))
        note_admitted()
        backlog.add_cost(owner, cost)
        try:
            yield
        finally:
            backlog.remove_cost(owner, cost)

    def _refuse(self, owner: str | None, wait_s: float) -> NoReturn:
        self._watch.on_rejected(self.model.manifest.name)
        mine = 0 if owner is None else self._waiting_of.get(owner, 0)
        whose = f", {mine} of them with this API key" if mine else ""
        raise Overloaded(
            f"{self._waiting} requests wait for model {self.model.manifest.id}{whose}, {wait_s:.1f} s of work: try "
            "again later",
            retry_after_s=max(1.0, round(wait_s, 1)),
        )

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
            settled = self._next_run(on_loop=True)
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
        """On the event loop: move the sessions, then answer; where they are many, with turns of the loop in between.

        Whoever asks meanwhile is read before the last of them is answered, and the next runs are of those who are
        there rather than of all at once.
        """
        if len(settled) > AT_ONCE and not self._stopping:
            self._loop.call_soon(self._deliver, settled[AT_ONCE:])
            settled = settled[:AT_ONCE]
        self._waiting -= len(settled)
        for job, _ in settled:
            self._backlog.remove(job)
        if self._waiting_of:
            self._leave(settled)
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

    def _leave(self, settled: list[Settled]) -> None:
        """Jobs that belong to owners wait no more."""
        waiting_of = self._waiting_of
        for job, _ in settled:
            if job.owner is not None:
                left = waiting_of[job.owner] - 1
                if left:
                    waiting_of[job.owner] = left
                else:
                    del waiting_of[job.owner]

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
        if job.graph == "forecast" and not self._brief_forecast:
            return False
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

    def _next_run(self, *, on_loop: bool = False) -> list[Settled]:
        """Make the next run, if anybody waits for one; what became of those it was the last for."""
        self._take_up()
        if not self._ready:
            return []
        started = self._ran_until or time.perf_counter()
        graph, steps, jobs = self._ready.next_batch()
        count(self._watch.on_queue, self.model.manifest.name, len(self._ready) + len(self._arrived))
        settled = self._runner.run(graph, steps, jobs)
        if len(settled) < len(jobs):
            done_with = {id(job) for job, _ in settled}
            for job in jobs:
                if id(job) not in done_with:
                    self._ready.add(job)
        self._note_run(graph, steps, jobs, started)
        return settled if self._committing is None else self._committing.hold_back(settled, on_loop=on_loop)

    def _note_run(self, graph: GraphName, steps: int, jobs: Sequence[Job], started: float) -> None:
        """Learn from a run what a step costs, if others wait: without any, runs are narrow, and cost more a step."""
        self._ran_until = time.perf_counter() if self._ready else 0.0
        if self._ran_until:
            self._backlog.note_run(graph, steps, sum(job.width for job in jobs), self._ran_until - started)

    def _take_up(self) -> None:
        for job in self._take_arrived():
            self._ready.add(job)


def _not_carried_out() -> ShuttingDown:
    return ShuttingDown("the service is shutting down: this request was not carried out; try it again in a moment")
