"""A turn: the right to do one thing to a session, and what it may come to.

Knows positions and repeats on one side and the engine's jobs on the other; takes its order from `Session.turn`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from service.engine.job import Job, Result
from service.engine.state_table import Rows
from service.errors import PositionConflict, SessionMoved
from service.sessions.commit import SessionCommit
from service.sessions.transition import NOTHING_EXPECTED, Expected, Transition

if TYPE_CHECKING:
    from service.sessions.record import Record
    from service.sessions.session import Session


class Turn:
    """The right to do one thing to a session; see `Session.turn`."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._job: Job | None = None
        self._answer: asyncio.Future[Result]

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
        session, start = self.session, self.session.position

        def record(result: Result) -> Record:
            return session.record_at(start + result.steps, remembered(start, expected, digest, result), **changes)

        return _transition(start, expected, digest, await self.commit(job, record))

    async def commit(self, job: Job, record: Callable[[Result], Record]) -> Result:
        """Run a job from the session's row, or from the job's own, and move the session to where it ends.

        Args:
            record: what the session is to remember, from the result.
        """
        job.commit = SessionCommit(self.session, await self._slot(), record)
        return await self._run(job)

    async def peek(self, job: Job) -> Result:
        """Run a job on a copy of the session's row, which stays as it is."""
        if job.rows is None:
            job.rows = (await self.row())[np.newaxis]
        return await self._run(job)

    async def row(self) -> Rows:
        """A copy of the session's row (S,)."""
        slot = await self._slot()
        return np.asarray(self.session.engine.table.take([slot])[0])

    async def _slot(self) -> int:
        """The slot that the session's row is in; nothing else happens between this and what is done with it.

        Raises:
            SessionMoved: the session is not where it was when the turn began.
        """
        session = self.session
        while (slot := session.home.slot_of(session)) is None:
            await session.home.bring(session)
        if session.stale:
            raise SessionMoved(f"session {session.id} was moved by another replica meanwhile: ask again")
        return slot

    def end(self, release: Callable[[], None]) -> None:
        """Give the turn up, as soon as the engine has decided about what was submitted in it."""
        if self._job is None or self._job.settled:
            release()
            return
        self._job.cancel()
        self._answer.add_done_callback(lambda _: release())

    async def _run(self, job: Job) -> Result:
        job.owner = self.session.owner
        self._answer = self.session.engine.submit(job)
        self._job = job
        if job.commit is not None:
            self.session.pinned = True
            self._answer.add_done_callback(self._unpin)
        # Whoever waits may be cancelled at any time; the engine's decision must still reach the session.
        return await asyncio.shield(self._answer)

    def _unpin(self, _: object) -> None:
        self.session.pinned = False

    def _conflict(self, what: str) -> PositionConflict:
        session = self.session
        return PositionConflict(
            f"session {session.id}: {what}", position=session.position, durable_position=session.durable_position
        )


def remembered(start: int, expected: Expected, digest: bytes, result: Result) -> Transition | None:
    """What a session remembers of a transition that one job carried out, for a client that may ask for it again."""
    if expected == NOTHING_EXPECTED:
        return None
    transition = _transition(start, expected, digest, result)
    # Views would keep everything else of the run alive for as long as the session remembers them.
    return replace(transition, outputs={name: array.copy() for name, array in transition.outputs.items()})


def _transition(start: int, expected: Expected, digest: bytes, result: Result) -> Transition:
    outputs = {name: array[0] for name, array in result.outputs.items()}
    return Transition(start, result.steps, expected.key, digest, outputs, complete=True)
