"""A session: one sequence, its position, and the order of what is done to it. Knows no sockets and no rows.

A turn is the right to do one thing to the session. Turns are taken in the order they are asked for, and a turn ends
only when the engine has decided about what was submitted in it, so that two transitions never mix, whoever hangs up.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from service.contract.frequency import Frequency, format_timestamp
from service.engine.engine import Engine
from service.engine.job import Job, Result
from service.engine.state_table import Rows
from service.errors import Overloaded, PositionConflict, SessionExpired, SessionNotFound
from service.journal import Entry
from service.models.model import Model
from service.sessions.transition import NOTHING_EXPECTED, Expected, Transition

MAX_WAITING = 64
"""Requests that may wait for their turn at one session; one more is refused."""


@dataclass(frozen=True, slots=True)
class Record:
    """What the journal keeps of a session besides its row."""

    model_id: str
    position: int
    seed: int
    first_timestamp: np.datetime64 | None
    text_pending: bytes
    last: Transition | None


@dataclass(eq=False)
class Session:
    """One sequence on one version of one model. All methods belong to the event loop.

    Args:
        slot: where the row lies in the engine's state table; None while it is only in the journal.
        first_timestamp: of the observation at position 1, where the client has told it.
        text_pending: the bytes of a character that generation has begun and not completed.
    """

    id: str
    engine: Engine
    seed: int
    time_to_live_s: float
    first_timestamp: np.datetime64 | None
    row_of: Callable[[Session], int]
    """Sees to it that the row is in the state table, and returns the slot."""
    slot: int | None = None
    position: int = 0
    text_pending: bytes = b""
    last: Transition | None = None
    ended: Literal["closed", "expired"] | None = None
    """Why nothing more can be done to it."""
    durable_position: int = 0
    created: float = field(default_factory=time.time)
    used: float = field(default_factory=time.time)
    committing: Job | None = None
    """The last job that was to move the session; until it is decided, the row stays where it is."""
    _turns: asyncio.Lock = field(default_factory=asyncio.Lock)
    _waiting: int = 0

    @property
    def model(self) -> Model:
        return self.engine.model

    @property
    def expires(self) -> float:
        """Unix time in seconds after which the session is gone unless it is used."""
        return self.used + self.time_to_live_s

    @property
    def is_over(self) -> bool:
        """Whether its time to live has passed; while something is done to it, time does not count."""
        return not self.busy and self.expires < time.time()

    @property
    def busy(self) -> bool:
        return self._turns.locked() or self._waiting > 0

    @property
    def pinned(self) -> bool:
        """Whether the engine is about to read or write the row in its slot."""
        return self.committing is not None and not self.committing.answer.done()

    @property
    def record(self) -> Record:
        return Record(
            self.model.manifest.id, self.position, self.seed, self.first_timestamp, self.text_pending, self.last
        )

    def record_after(self, transition: Transition, expected: Expected, **changes: Any) -> Record:
        """What to remember after a transition, with what else it changes.

        The transition itself, and with it the answer, only for a client that may ask for it again.
        """
        last = None if expected == NOTHING_EXPECTED else transition
        return replace(self.record, position=transition.position, last=last, **changes)

    def touch(self) -> None:
        """Begin the time to live anew."""
        self.used = time.time()

    def require_alive(self) -> None:
        """Raises SessionExpired or SessionNotFound where the session has ended, for whoever still holds it."""
        if self.ended == "expired":
            raise SessionExpired(f"session {self.id} was idle for longer than its time to live: open a new one")
        if self.ended == "closed":
            raise SessionNotFound(f"session {self.id} was closed")

    @asynccontextmanager
    async def turn(self, *, touch: bool = True) -> AsyncIterator[Turn]:
        """Wait for everyone before, then hold the session until what is done in the turn is decided.

        Args:
            touch: whether the turn is a use of the session, which begins its time to live anew.

        Raises:
            Overloaded: too many wait for this session already.
            SessionNotFound, SessionExpired: it was closed meanwhile, or its time had passed.
        """
        if self.ended is None and self.is_over:
            self.ended = "expired"
        if self._waiting >= MAX_WAITING:
            raise Overloaded(f"session {self.id}: {self._waiting} requests wait for it already: send them one by one")
        self._waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self._waiting -= 1
        turn = Turn(self)
        try:
            self.require_alive()
            if touch:
                self.touch()
            yield turn
        finally:
            turn.end(self._turns.release)

    def describe(self) -> dict[str, Any]:
        """What anyone may know of the session, as plain JSON values."""
        manifest = self.model.manifest
        facts: dict[str, Any] = {
            "id": self.id,
            "object": "session",
            "model": manifest.name,
            "version": manifest.version,
            "task": manifest.task,
            "position": self.position,
            "durable_position": self.durable_position,
            "seed": self.seed,
            "created": self.created,
            "expires": self.expires,
            "time_to_live_s": self.time_to_live_s,
            "state_bytes": self.engine.table.row_bytes,
        }
        if manifest.forecast is not None:
            first = self.first_timestamp
            facts["first_timestamp"] = None if first is None else format_timestamp(first)
            facts["next_timestamp"] = None if first is None else format_timestamp(self.timestamps(self.position, 1)[0])
        return facts

    def timestamps(self, start: int, count: int) -> Any:
        """Timestamps (count,) of the observations after position `start`; the session must know its first."""
        assert self.first_timestamp is not None and self.model.manifest.forecast is not None
        return Frequency.parse(self.model.manifest.forecast.frequency).timestamps(self.first_timestamp, start, count)


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
