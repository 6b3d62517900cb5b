"""The sessions in memory, and their home: they come from the journal when they are asked for, and leave for it.

Built for a million of them: nothing here walks over all sessions for one request, or in one turn of the event loop.
A session is in memory once. Whoever still holds one that has left is told so, and asks for it again.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from itertools import islice
from typing import Literal, Protocol

import numpy as np

from service.engine.engine import Engine
from service.engine.state_table import Rows
from service.errors import JournalUnavailable, Overloaded, SessionExpired, SessionMoved, SessionNotFound
from service.journal import NOWHERE, Entry
from service.sessions.async_journal import AsyncJournal
from service.sessions.deadlines import Deadlines
from service.sessions.expired_lately import ExpiredLately
from service.sessions.listing import Listing
from service.sessions.ownership import SessionKey, public_id
from service.sessions.places import TurnEnds
from service.sessions.residence import Residence, ResidenceWatch
from service.sessions.restoring import expired, lives, new_from, take_over
from service.sessions.session import Session
from service.sessions.threshold import AnomalyWatch

_LOOK_SECONDS = 1.0
AT_ONCE = 256
"""Sessions that are looked at in one turn of the event loop, where many are."""
_WORTH_TELLING = 0.1
"""Of its time to live: by so much a session's end has to move before the journal is told of a use without a commit."""

Ended = Literal["closed", "expired"]
Began = Literal["opened", "forked", "restored", "migrated"]


class SessionWatch(ResidenceWatch, AnomalyWatch, Protocol):
    """What the store tells whoever counts."""

    def on_session(self, model: str, event: str) -> None:
        """`event` is opened, forked, restored, migrated, closed, expired, or left: memory, for the journal."""

    def on_rejected(self, model: str) -> None:
        """A session was refused because there is no room."""

    def on_state_bytes(self, model: str, count: int) -> None:
        """The rows of a model in memory now take `count` bytes."""


class LiveSessions:
    """All methods belong to the event loop.

    Args:
        most: sessions in memory at once; idle ones make room where the journal has them.
        engine_of: the engine that an entry's session runs on; raises VersionGone where there is none.
    """

    def __init__(
        self, journal: AsyncJournal, watch: SessionWatch, most: int, engine_of: Callable[[Entry], Engine]
    ) -> None:
        self._journal = journal
        self.watch = watch
        self._most = most
        self._engine_of = engine_of
        self._sessions: dict[SessionKey, Session] = {}
        self._loading: dict[SessionKey, asyncio.Future[Session]] = {}
        self._used: dict[SessionKey, float] = {}
        """Until when sessions live that were used without a commit, as the journal is to be told."""
        self.listing = Listing()
        self.turn_ends = TurnEnds()
        self._deadlines = Deadlines()
        self._residences: dict[Engine, Residence] = {}
        self._expired = ExpiredLately()
        self._looked = -math.inf
        self.on_ended: Callable[[SessionKey], None] = lambda key: None
        """Told of every session that is closed or expires here."""

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._sessions.values()))

    def __getitem__(self, key: SessionKey) -> Session:
        return self._sessions[key]

    def find(self, key: SessionKey) -> Session | None:
        """The session by that name, if it is in memory; its time may just have passed."""
        return self._sessions.get(key)

    def add(self, session: Session, row: Rows, event: Began) -> None:
        """Keep a session that stands at `row` (S,)."""
        self._residence(session.engine).add(session, row)
        self._sessions[session.key] = session
        self.listing.add(session)
        self._deadlines.file(session)
        self.watch.on_session(session.model.manifest.name, event)
        self._expired.discard(session.key)

    def count_unstored(self, prefix: str) -> int:
        """How many sessions whose names begin so are in memory alone."""
        keys = self.listing.after(None, None, prefix)
        return sum(self._sessions[key].stored == NOWHERE for key in keys)

    # From the journal.

    async def restored(self, key: SessionKey) -> Session:
        """The session as the journal has it; several who ask at once share one look."""
        loading = self._loading.get(key)
        if loading is None:
            loading = self._loading[key] = asyncio.ensure_future(self._load(key))
            loading.add_done_callback(partial(self._loaded, key))
        return await asyncio.shield(loading)

    def _loaded(self, key: SessionKey, loading: asyncio.Future[Session]) -> None:
        del self._loading[key]
        if not loading.cancelled():
            loading.exception()  # whoever asked may be gone; that is no news for the log

    async def _load(self, key: SessionKey) -> Session:
        entry = await self._journal.load(key)
        if (session := self._sessions.get(key)) is not None:
            return session  # opened meanwhile
        if entry is None:
            raise self.not_there(key)
        if not lives(entry):
            raise expired(key)
        engine = self._engine_of(entry)
        session = new_from(entry, engine, self)
        self._take_over(session, entry, engine)
        return session

    def _take_over(self, session: Session, entry: Entry, engine: Engine) -> None:
        """Let a session stand where the entry says, in memory."""
        here = session.key in self._sessions
        if here and session.engine is not engine:
            self._leave(session)
            session.require_alive()
        if not here:
            self.require_room(engine)
        take_over(session, entry)
        row = np.frombuffer(entry.row, np.float32)
        if here:
            self._residence(engine).place(session, row)
            return
        session.restored = session.untold = True
        self.add(session, row, "restored")

    def row(self, session: Session) -> Rows:
        """A copy of a session's row (S,), wherever it is; nothing is moved."""
        return self._residence(session.engine).row(session)

    def not_there(self, key: SessionKey) -> SessionExpired | SessionNotFound:
        """What is said of a session that is nowhere."""
        if key in self._expired:
            return expired(key)
        return SessionNotFound(f"there is no session {public_id(key)!r}: open it first, or check the id")

    # What sessions ask of their home; see `Home`.

    def slot_of(self, session: Session) -> int | None:
        if session.slot is None:
            if not self._residence(session.engine).bring(session):
                return None
            self._count_bytes([session.engine])
        return session.slot

    async def bring(self, session: Session) -> None:
        residence = self._residence(session.engine)
        if residence.row_outside(session) is not None:
            await residence.store_some()
            return
        entry = await self._journal.load(session.key)
        if entry is None or (entry.epoch, entry.position) != (session.epoch, session.position):
            session.stale = True
            raise SessionMoved(f"session {session.id} was moved by another replica meanwhile: ask again")
        residence.place(session, np.frombuffer(entry.row, np.float32))

    async def refresh(self, session: Session) -> None:
        if not self._may_be_elsewhere(session):
            return
        entry = await self._journal.load(session.key)
        if entry is None or not lives(entry):
            event: Ended = "closed" if entry is None else "expired"
            if session.key in self._sessions:
                self.forget([session], event)
            session.ended = event
            session.require_alive()
            return
        stands_there = (entry.epoch, entry.position) == (session.epoch, session.position)
        if session.stale or not stands_there:
            self._take_over(session, entry, self._engine_of(entry))

    def _may_be_elsewhere(self, session: Session) -> bool:
        """Whether memory may be behind the journal, and is not ahead of it."""
        if session.stale:
            return self._journal.durable
        return self._journal.shared and session.durable_position == session.position and session.stored != NOWHERE

    async def current(self, session: Session) -> Session:
        if session.ended != "left":
            return session
        return self._sessions.get(session.key) or await self.restored(session.key)

    def on_used(self, session: Session) -> None:
        moved = session.expires - session.stored_expires
        if session.stored != NOWHERE and moved > _WORTH_TELLING * session.time_to_live_s:
            self._used[session.key] = session.stored_expires = session.expires

    def on_refused(self, keys: AbstractSet[SessionKey]) -> None:
        """The journal refused what nobody waited for: another replica has moved these sessions."""
        for key in keys:
            if (session := self._sessions.get(key)) is not None:
                session.stale = True

    def on_stored(self, positions: Mapping[SessionKey, int]) -> None:
        """The journal has what nobody waited for, up to these positions."""
        for key, position in positions.items():
            session = self._sessions.get(key)
            if session is not None and session.durable_position < position <= session.position:
                session.durable_position = position

    # Time.

    async def sweep(self) -> int:
        """Forget the sessions whose time is over, and return how many; others are served in between."""
        count = 0
        due = self._deadlines.due()
        while looked := list(islice(due, AT_ONCE)):
            count += self._settle(looked)
            await asyncio.sleep(0)
        return count

    async def tell_journal(self) -> None:
        """Let the journal know of sessions that were used without a commit, and have it forget what has expired."""
        used, self._used = self._used, {}
        try:
            if used:
                await self._journal.extend(used)
        except JournalUnavailable:
            self._used = used | self._used
            raise
        await self._journal.sweep()

    def _settle(self, looked: Sequence[Session]) -> int:
        """Forget those whose time is over, look at the others again when theirs may be, and return how many went."""
        for session in looked:
            self._deadlines.file(session)
        return self.forget([session for session in looked if session.is_over], "expired")

    def engines_in_use(self) -> set[Engine]:
        """The engines that some session needs; the others' rows are let go of."""
        needed = self.listing.engines()
        self._residences = {engine: rows for engine, rows in self._residences.items() if engine in needed}
        return needed

    # Leaving memory.

    def _make_room(self) -> None:
        """Forget some sessions whose time is over, but not for every request of a crowd that finds no room."""
        if time.monotonic() - self._looked > _LOOK_SECONDS:
            self._looked = time.monotonic()
            self._settle(list(islice(self._deadlines.due(), AT_ONCE)))

    def require_room(self, engine: Engine) -> None:
        """See to it that one session more may be in memory.

        Raises:
            Overloaded: it may not.
        """
        if len(self._sessions) < self._most:
            return
        self._make_room()
        # Of openings that are waited for together, more come to be in memory than there is room for.
        while len(self._sessions) >= self._most and self._journal.durable and self._let_leave():
            continue
        if len(self._sessions) >= self._most:
            self.watch.on_rejected(engine.model.manifest.name)
            raise Overloaded(
                f"{len(self._sessions)} sessions are open, and no more may be: close some", retry_after_s=5
            )

    def _let_leave(self) -> int:
        """Leave some sessions to the journal: of those that came first, the quarter that was not used for longest.

        Returns how many left.
        """
        looked = list(islice(self._sessions.values(), AT_ONCE))
        stored = [session for session in looked if session.is_stored and not session.busy]
        leaving = sorted(stored, key=lambda session: session.used)[: len(looked) // 4 + 1]
        for session in leaving:
            self._leave(session)
        for session in looked:
            if session.key in self._sessions:
                self._sessions[session.key] = self._sessions.pop(session.key)
        return len(leaving)

    def replace(self, session: Session, moved: Session, row: Rows) -> None:
        """Keep a session in place of the one it was, which is held."""
        self._leave(session)
        self.add(moved, row, "migrated")

    def _leave(self, session: Session) -> None:
        """Leave a session to the journal."""
        self._take_out(session)
        session.ended = "left"
        self.watch.on_session(session.model.manifest.name, "left")

    def _take_out(self, session: Session, reason: str = "pressure") -> None:
        """Let go of all that memory has of a session."""
        del self._sessions[session.key]
        self.listing.remove(session)
        self._deadlines.drop(session)
        self._residence(session.engine).forget(session, reason)

    def forget(self, sessions: Sequence[Session], event: Ended) -> int:
        """End sessions in memory at once, and return how many that were."""
        for session in sessions:
            session.ended = event
            self._take_out(session, event)
            self.turn_ends.forget(session)
            if event == "expired":
                self._expired.add(session.key)
        if not self._journal.durable:
            self._journal.journal.remove([session.key for session in sessions])
        for session in sessions:
            self.watch.on_session(session.model.manifest.name, event)
            self.on_ended(session.key)
        self._count_bytes({session.engine for session in sessions})
        return len(sessions)

    def _residence(self, engine: Engine) -> Residence:
        if engine not in self._residences:
            self._residences[engine] = Residence(engine, self._journal, self.watch)
        return self._residences[engine]

    def _count_bytes(self, engines: Iterable[Engine]) -> None:
        for name in {engine.model.manifest.name for engine in engines}:
            of_name = (rows for engine, rows in self._residences.items() if engine.model.manifest.name == name)
            self.watch.on_state_bytes(name, sum(rows.state_bytes for rows in of_name))
