"""A turn: the right to do one thing to a session, and what it may come to.

Knows positions and repeats on one side and the engine's jobs on the other; takes its order from `Session.turn`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from service.engine.job import Job, Result
from service.engine.state_table import Rows
from service.errors import PositionConflict
from service.journal import Entry
from service.sessions.transition import Expected, Transition

if TYPE_CHECKING:
    from service.sessions.session import Record, Session


class Turn:
    """The right to do one thing to a session; see `Session.turn`."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._job: Job | None = None

    def repeated(self, expected: Expected, digest: bytes) -> Transition | None:
        """The last transition if this request is the same again; None if it is new.

        Raises:
            PositionConflict: the session is elsewhere, or the step or key was used with other content.
        """
        session, last = self.session, self.session.last
        same_key = last is not None and expected.key is not None and expected.key == last.key
        moved = last is not None and session.position > last.start
        same_start = last is not None and moved and expected.position == last.start
        if last is not None and (same_key or same_start):
            if expected.position not in (None, last.start):
                raise self._conflict(f"expected position {expected.position}, but this key began at {last.start}")
            if last.digest != digest:
                what = f"idempotency key {expected.key!r}" if same_key else f"position {last.start}"
                raise self._conflict(f"{what} was used before with another request: send that again, or a new step")
            return last
        self.require_position(expected.position)
        return None

    def require_position(self, expected: int | None) -> None:
        """Raises PositionConflict where the client expects the session elsewhere."""
        if expected not in (None, self.session.position):
            raise self._conflict(f"expected position {expected}, but it is at {self.session.position}")

    async def carry_out(self, job: Job, expected: Expected, digest: bytes, **changes: Any) -> Transition:
        """Run a job as the whole of one transition, commit it, and return it.

        Args:
            changes: what else of the session's record it changes.
        """
        start = self.session.position

        def transition(result: Result) -> Transition:
            outputs = {name: array[0] for name, array in result.outputs.items()}
            return Transition(start, result.steps, expected.key, digest, outputs, complete=True)

        return transition(
            await self.commit(job, lambda result: self.session.record_after(transition(result), expected, **changes))
        )

    async def commit(self, job: Job, record: Callable[[Result], Record]) -> Result:
        """Run a job from the session's row, or from the job's own, and move the session to where it ends.

        Args:
            record: what the session is to remember, from the result; called on the engine's thread.
        """
        job.commit = SessionCommit(self.session, self.session.row_of(self.session), record)
        return await self._run(job)

    async def peek(self, job: Job) -> Result:
        """Run a job on a copy of the session's row, which stays as it is."""
        if job.rows is None:
            job.rows = self.row()[np.newaxis]
        return await self._run(job)

    def row(self) -> Rows:
        """A copy of the session's row (S,)."""
        rows = self.session.engine.table.take([self.session.row_of(self.session)])
        return np.asarray(rows[0])

    def end(self, release: Callable[[], None]) -> None:
        """Give the turn up, as soon as the engine has decided about what was submitted in it."""
        if self._job is None or self._job.answer.done():
            release()
            return
        self._job.cancel()
        self._job.answer.add_done_callback(lambda _: release())

    async def _run(self, job: Job) -> Result:
        answer = self.session.engine.submit(job)
        self._job = job
        if job.commit is not None:
            self.session.committing = job
        # Whoever waits may be cancelled at any time; the engine's decision must still reach the session.
        return await asyncio.shield(answer)

    def _conflict(self, what: str) -> PositionConflict:
        session = self.session
        return PositionConflict(
            f"session {session.id}: {what}", position=session.position, durable_position=session.durable_position
        )


class SessionCommit:
    """How a finished job moves its session: the journal's entry first, then the session itself."""

    def __init__(self, session: Session, slot: int, record: Callable[[Result], Record]) -> None:
        self.slot = slot
        self._session = session
        self._record = record

    def entry(self, result: Result) -> Entry:
        record = self._record(result)
        return Entry(self._session.id, record.position, result.rows[0].tobytes(), record)

    def apply(self, entry: Entry, result: Result) -> None:
        session, record = self._session, entry.record
        session.position = entry.position
        session.first_timestamp = record.first_timestamp
        session.text_pending = record.text_pending
        session.last = record.last
        if session.engine.journal.durable:
            session.durable_position = entry.position
        session.touch()
