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
from service.engine.job import Job
from service.errors import Overloaded, SessionExpired, SessionNotFound
from service.models.model import Model
from service.sessions.transition import NOTHING_EXPECTED, Expected, Transition
from service.sessions.turn import Turn

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
