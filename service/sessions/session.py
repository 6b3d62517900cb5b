"""A session: one sequence, its position, and the order of what is done to it. Knows no sockets and no rows.

A turn is the right to do one thing to the session. Turns are taken in the order they are asked for, and a turn ends
only when the engine has decided about what was submitted in it, so that two transitions never mix, whoever hangs up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal, Protocol

import msgspec
import numpy as np

from service.contract.frequency import Frequency, format_timestamp
from service.engine.engine import Engine
from service.engine.job import Durability
from service.errors import Overloaded, SessionExpired, SessionMoved, SessionNotFound
from service.journal import NOWHERE, clock
from service.models.model import Model
from service.sessions.fingerprint import fingerprint
from service.sessions.frequency import frequency_of
from service.sessions.ownership import SessionKey, owner_of, public_id
from service.sessions.places import TurnEnds
from service.sessions.record import Record
from service.sessions.threshold import AnomalyWatch, threshold_of
from service.sessions.transition import NOTHING_EXPECTED, Expected, Transition
from service.sessions.turn import Turn

MAX_WAITING = 64
"""Requests that may wait for their turn at one session; one more is refused."""


class Home(Protocol):
    """Who sees to it that a session's row can be used; one for all sessions."""

    turn_ends: TurnEnds

    @property
    def watch(self) -> AnomalyWatch:
        """Who is told of anomalies."""

    def slot_of(self, session: Session) -> int | None:
        """The slot of its row in the state table, brought there if need be; None where that takes waiting."""

    async def bring(self, session: Session) -> None:
        """See to it that its row is in the state table, whatever that takes."""

    async def refresh(self, session: Session) -> None:
        """Let the session stand where the journal says that it does."""

    async def current(self, session: Session) -> Session:
        """The session itself, or the one in its place where it has left memory."""

    def on_used(self, session: Session) -> None:
        """Its time to live has begun anew, and nothing was committed that says so."""


class Session(msgspec.Struct, eq=False, gc=False):
    """One sequence on one version of one model. All methods belong to the event loop.

    A struct that the garbage collector does not look at: a million dictionaries or tracked objects would take more
    memory than their rows need, and stop everyone for a third of a second at every full collection. In return no
    cycle may lead through a session that is gone, which is why it holds nobody who holds it for longer than a turn.

    Args:
        key: its name in store and journal; clients know it by `id`.
        slot: where the row lies in the engine's state table; None while it is only in the journal.
        epoch: tells this opening from every other one under the same id.
        stored: the position of the entry that the journal was handed last, which the next one follows.
        stored_expires: what that entry, or an extension since, says of its end.
        durable_position: up to where the journal is known to have it.
        first_timestamp: of the observation at position 1, where the client has told it.
        text_pending: the bytes of a character that generation has begun and not completed.
        recent: the last tokens of text; see `service.sessions.recent`.
        anomaly_threshold: its own, in place of its model's.
        frequency: between two steps, where the client has told it and the model has none of its own.
    """

    key: SessionKey
    engine: Engine
    seed: int
    time_to_live_s: float
    first_timestamp: np.datetime64 | None
    home: Home
    durability: Durability = "sync"
    epoch: int = 0
    slot: int | None = None
    position: int = 0
    text_pending: bytes = b""
    recent: bytes = b""
    last: Transition | None = None
    anomaly_threshold: float | None = None
    frequency: str | None = None
    ended: Literal["closed", "expired", "left"] | None = None
    """Why nothing more can be done to it; one that has left memory for the journal comes back as another object."""
    durable_position: int = 0
    stored: int = NOWHERE
    stored_expires: float = 0.0
    stale: bool = False
    """Whether the journal may say something else, and is to be asked before anything is done."""
    restored: bool = False
    """Whether it was taken from the journal, by this process."""
    untold: bool = False
    """Whether no answer has said yet that it was."""
    created: float = msgspec.field(default_factory=clock.now)
    used: float = msgspec.field(default_factory=clock.now)
    pinned: bool = False
    """Whether the engine is about to read or write the row in its slot."""
    bucket: set[Session] | None = None
    """Among whom the store looks for it when its time may be over."""
    _held: bool = False
    _waiting: deque[asyncio.Future[None]] | None = None
    """Who waits for a turn, first come first; made when somebody has to, since most sessions never see a queue."""

    def __repr__(self) -> str:
        return f"Session({self.key!r}, {self.model.manifest.id}, position={self.position})"

    @property
    def id(self) -> str:
        """What its owner calls it."""
        return public_id(self.key)

    @property
    def owner(self) -> str | None:
        """The name of the API key it belongs to; None where it is nobody's."""
        return owner_of(self.key)

    @property
    def model(self) -> Model:
        return self.engine.model

    @property
    def expires(self) -> float:
        """Unix time in seconds after which the session is gone unless it is used."""
        return self.used + self.time_to_live_s

    @property
    def idle_s(self) -> float:
        """Seconds since it was last used."""
        return clock.now() - self.used

    @property
    def is_over(self) -> bool:
        """Whether its time to live has passed; while something is done to it, time does not count."""
        return not self.busy and self.expires < clock.now()

    @property
    def busy(self) -> bool:
        return self._held

    @property
    def is_stored(self) -> bool:
        """Whether the journal is known to have it as it stands."""
        return self.stored == self.durable_position == self.position

    @property
    def record(self) -> Record:
        return self.record_at(self.position, self.last)

    def record_at(self, position: int, last: Transition | None, **changes: Any) -> Record:
        """What to remember at another position, with what else a transition changes.

        Args:
            last: the transition itself, and with it the answer, for a client that may ask for it again.
        """
        model = self.engine.model
        computes, layout = fingerprint(model)
        # By place: with names it would take twice as long, at every step.
        record = Record(
            model.manifest.id,
            position,
            self.seed,
            self.first_timestamp,
            self.text_pending,
            last,
            self.time_to_live_s,
            self.created,
            self.durability,
            computes,
            layout,
            self.recent,
            (),
            self.anomaly_threshold,
            self.frequency,
        )
        return msgspec.structs.replace(record, **changes) if changes else record

    def touch(self) -> None:
        """Begin the time to live anew."""
        self.used = clock.now()

    def require_alive(self) -> None:
        """Raises SessionExpired or SessionNotFound where the session has ended, for whoever still holds it."""
        if self.ended == "expired":
            raise SessionExpired(f"session {self.id} was idle for longer than its time to live: open a new one")
        if self.ended == "closed":
            raise SessionNotFound(f"session {self.id} was closed")
        if self.ended == "left":
            raise SessionMoved(f"session {self.id} has left memory meanwhile: ask again")

    def tell_restored(self) -> bool:
        """Whether an answer is to say that the session was restored; one does."""
        tells, self.untold = self.untold, False
        return tells

    @asynccontextmanager
    async def turn(
        self, expected: Expected = NOTHING_EXPECTED, *, touch: bool = True, fresh: bool = False
    ) -> AsyncIterator[Turn]:
        """Wait for everyone before, then hold the session until what is done in the turn is decided.

        Args:
            expected: where the client means the session to be: that it is elsewhere is not said from memory alone.
            touch: whether the turn is a use of the session, which begins its time to live anew.
            fresh: whether something is told from the session without a commit that would notice if it is out of date.

        Raises:
            Overloaded: too many wait for this session already.
            SessionNotFound, SessionExpired: it was closed meanwhile, or its time had passed.
            JournalUnavailable: what became of its last step cannot be found out now.
        """
        if self.ended is None and self.is_over:
            if self.is_stored:
                self.stale = True  # another replica may have used it
            else:
                self.ended = "expired"
        await self._hold()
        turn = Turn(self)
        try:
            self.require_alive()
            if self.stale or fresh or expected.position not in (None, self.position):
                await self.home.refresh(self)
            if touch:
                self.touch()
            yield turn
            if touch:
                self.home.on_used(self)
        finally:
            turn.end(self.release)

    @property
    def is_plain(self) -> bool:
        """Whether a step may begin as soon as nobody else is at it: it is alive, and there is nothing to find out."""
        return not (self.stale or self.untold or self.ended is not None or self.is_over)

    def try_hold(self) -> bool:
        """Take a turn at once, if nobody has one and the session is plain; `release` ends it."""
        if self._held or not self.is_plain:
            return False
        self._held = True
        return True

    def call_in_turn(self, begin: Callable[[], None]) -> bool:
        """Have `begin` called when everyone before has had their turn: it has one then, which `release` ends.

        False, and nothing is called, where nobody has a turn now, or as many wait as may.
        """
        if not self._held or self._is_crowded:
            return False
        self._join().add_done_callback(lambda _: begin())
        return True

    def release(self) -> None:
        """End a turn and begin the next one's."""
        while self._waiting:
            following = self._waiting.popleft()
            if not following.done():
                following.set_result(None)
                return
        self._waiting = None
        self._held = False

    @property
    def _is_crowded(self) -> bool:
        return len(self._waiting or ()) >= MAX_WAITING

    def _join(self) -> asyncio.Future[None]:
        """The turn of whoever comes last of those who wait."""
        if self._waiting is None:
            self._waiting = deque()
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(mine)
        return mine

    async def _hold(self) -> None:
        if not self._held:
            self._held = True
            return
        if self._is_crowded:
            raise Overloaded(f"session {self.id}: {MAX_WAITING} requests wait for it already: send them one by one")
        mine = self._join()
        try:
            await mine
        except asyncio.CancelledError:
            if mine.cancelled():
                if self._waiting is not None and mine in self._waiting:  # a turn that ended meanwhile took it out
                    self._waiting.remove(mine)
            else:
                self.release()  # the turn had come just before whoever waited went away
            raise

    def describe(self) -> dict[str, Any]:
        """What anyone may know of the session, as plain JSON values."""
        manifest = self.model.manifest
        facts: dict[str, Any] = {
            "id": self.id,
            "object": "session",
            "owner": self.owner,
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
            "durability": self.durability,
            "restored": self.restored,
        }
        if manifest.forecast is not None:
            facts["anomaly_threshold"] = threshold_of(self)
            facts["frequency"] = manifest.forecast.frequency or self.frequency
            first = self.first_timestamp
            facts["first_timestamp"] = None if first is None else format_timestamp(first)
            facts["next_timestamp"] = None if first is None else format_timestamp(self.timestamps(self.position, 1)[0])
        return facts

    @property
    def step_length(self) -> Frequency | None:
        """The time between two steps, where it is known."""
        return frequency_of(self.engine.model.manifest, self.frequency)

    def timestamps(self, start: int, count: int) -> Any:
        """Timestamps (count,) of the observations after position `start`; the session must know its first."""
        step = self.step_length
        assert self.first_timestamp is not None and step is not None
        return step.timestamps(self.first_timestamp, start, count)
