"""All sessions of a process: opened, found, listed, forked, expired and closed here, and nowhere else.

Rows of sessions that were not used for long leave the state table under pressure and come back from the journal when
the session is used again; no session pins a slot.
"""

from __future__ import annotations

import math
import re
import secrets
import time
from bisect import bisect_right, insort
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from service.engine.engine import Engine
from service.engine.state_table import Rows
from service.errors import InputMismatch, Overloaded, SessionExists, SessionExpired, SessionNotFound
from service.journal import Entry, Journal
from service.sessions.session import Session

SESSION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_SEED_BITS = 53
"""What every JSON reader holds exactly, so that a client can send back the seed it was told."""
_REMEMBERED_EXPIRED = 100_000
_LOOK_SECONDS = 1.0


class SessionWatch(Protocol):
    """What the store tells whoever counts."""

    def on_session(self, model: str, event: str) -> None:
        """`event` is opened, forked, closed or expired."""

    def on_rejected(self, model: str) -> None:
        """A session was refused because there is no room."""

    def on_eviction(self, model: str, reason: str) -> None:
        """A row left memory because of `pressure`, or its session was closed or expired."""

    def on_state_bytes(self, model: str, count: int) -> None:
        """The rows of a model in memory now take `count` bytes."""


@dataclass(frozen=True)
class StoreLimits:
    """Bounds of the store: sessions alive at once, and seconds without use after which one is gone."""

    max_sessions: int
    time_to_live_s: float
    max_time_to_live_s: float


class SessionStore:
    """The sessions of a process. All methods belong to the event loop."""

    def __init__(self, journal: Journal, watch: SessionWatch, limits: StoreLimits) -> None:
        self._journal = journal
        self._watch = watch
        self._limits = limits
        self._sessions: dict[str, Session] = {}
        self._ids: list[str] = []
        self._expired: OrderedDict[str, None] = OrderedDict()
        self._looked = -math.inf
        # Sessions whose rows are in memory, least recently used first, by engine.
        self._resident: dict[Engine, OrderedDict[str, Session]] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._sessions.values()))

    def add(
        self,
        engine: Engine,
        row: Rows,
        *,
        session_id: str | None,
        seed: int | None,
        first_timestamp: np.datetime64 | None,
        time_to_live_s: float | None,
        like: Session | None = None,
    ) -> Session:
        """A new session that starts from `row` (S,), at position 0 or where `like` stands.

        Raises:
            InputMismatch: an id or a time to live that cannot be.
            SessionExists: the id is taken.
            Overloaded: as many sessions live as may.
        """
        session = Session(
            id=self._free_id(session_id),
            engine=engine,
            seed=secrets.randbits(_SEED_BITS) if seed is None else seed,
            time_to_live_s=self._time_to_live(time_to_live_s),
            first_timestamp=first_timestamp,
            row_of=self._slot_of,
        )
        if len(self._sessions) >= self._limits.max_sessions:
            self._expire_now_and_then()
        if len(self._sessions) >= self._limits.max_sessions:
            self._watch.on_rejected(engine.model.manifest.name)
            raise Overloaded(
                f"{len(self._sessions)} sessions are open, and no more may be: close some", retry_after_s=5
            )
        if like is not None:
            session.position, session.text_pending = like.position, like.text_pending
        self._journal.commit([Entry(session.id, session.position, row.tobytes(), session.record)])
        if self._journal.durable:
            session.durable_position = session.position
        self._sessions[session.id] = session
        insort(self._ids, session.id)
        self._expired.pop(session.id, None)
        self._watch.on_session(engine.model.manifest.name, "opened" if like is None else "forked")
        return session

    def get(self, session_id: str) -> Session:
        """The session by that id.

        Raises:
            SessionExpired: it lived and was not used for its time to live.
            SessionNotFound: there is none.
        """
        session = self._sessions.get(session_id)
        if session is not None and not session.is_over:
            return session
        if session is not None:
            self._forget([session], "expired")
        if session_id in self._expired:
            raise SessionExpired(f"session {session_id} was idle for longer than its time to live: open a new one")
        raise SessionNotFound(f"there is no session {session_id!r}: open it first, or check the id")

    def page(self, after: str | None, limit: int, model: str | None = None) -> tuple[list[Session], str | None]:
        """Up to `limit` sessions in the order of their ids, those after the id `after`, and the id to go on from."""
        found: list[Session] = []
        for session_id in self._ids[bisect_right(self._ids, after) if after else 0 :]:
            session = self._sessions[session_id]
            if (model is None or session.model.manifest.name == model) and not session.is_over:
                if len(found) == limit:
                    return found, found[-1].id
                found.append(session)
        return found, None

    async def close(self, session_id: str) -> None:
        """End a session, after what was asked of it before."""
        session = self.get(session_id)
        async with session.turn():
            self._forget([session], "closed")

    async def discard_unused(self, session: Session) -> None:
        """End a session, unless by the time of its turn others have taken it into use or ended it."""
        with suppress(SessionNotFound, SessionExpired, Overloaded):
            async with session.turn(touch=False):
                if session.position == 0:
                    self._forget([session], "closed")

    async def close_many(self, chosen: Callable[[Session], bool]) -> int:
        """End all chosen sessions, and return how many that were."""
        count = 0
        self.expire()
        for session in [session for session in self._sessions.values() if chosen(session)]:
            # Others may close it meanwhile, its time may pass, and it may be used and be chosen no more.
            with suppress(SessionNotFound, SessionExpired, Overloaded):
                async with session.turn(touch=False):
                    if chosen(session):
                        self._forget([session], "closed")
                        count += 1
        return count

    async def fork(self, session_id: str, new_id: str | None, seed: int | None) -> Session:
        """A new session that stands where this one does and goes its own way; its seed is new unless given."""
        parent = self.get(session_id)
        async with parent.turn() as turn:
            parent.engine.require_running()
            return self.add(
                parent.engine,
                turn.row(),
                session_id=new_id,
                seed=seed,
                first_timestamp=parent.first_timestamp,
                time_to_live_s=parent.time_to_live_s,
                like=parent,
            )

    def expire(self) -> int:
        """Forget the sessions whose time is over, and return how many that were."""
        over = [session for session in self._sessions.values() if session.is_over]
        self._forget(over, "expired")
        return len(over)

    def _expire_now_and_then(self) -> None:
        """Look for expired sessions, but not for every request of a crowd that finds no room."""
        if time.monotonic() - self._looked > _LOOK_SECONDS:
            self._looked = time.monotonic()
            self.expire()

    def engines_in_use(self) -> set[Engine]:
        """The engines that some session needs; the others' rows are let go of."""
        for engine in [engine for engine, resident in self._resident.items() if not resident]:
            del self._resident[engine]
        return {session.engine for session in self._sessions.values()}

    def _forget(self, sessions: Iterable[Session], event: Literal["closed", "expired"]) -> None:
        for session in sessions:
            session.ended = event
            del self._sessions[session.id]
            self._ids.pop(bisect_right(self._ids, session.id) - 1)
            if session.slot is not None:
                self._leave_memory(session, event)
            if event == "expired":
                self._expired[session.id] = None
                if len(self._expired) > _REMEMBERED_EXPIRED:
                    self._expired.popitem(last=False)
            self._journal.remove([session.id])
            self._watch.on_session(session.model.manifest.name, event)

    def _slot_of(self, session: Session) -> int:
        """See to it that the session's row is in the state table: the session's `row_of`."""
        resident = self._resident.setdefault(session.engine, OrderedDict())
        if session.slot is None:
            entry = self._journal.load(session.id)
            assert entry is not None, "a session that is not closed is in the journal"
            row = np.frombuffer(entry.row, np.float32)
            slot = session.engine.table.acquire(row)
            if slot is None:
                self._evict_one(session.engine)
                slot = session.engine.table.acquire(row)
            session.slot = slot
            resident[session.id] = session
            self._count_bytes(session.engine)
        resident.move_to_end(session.id)
        assert session.slot is not None
        return session.slot

    def _evict_one(self, engine: Engine) -> None:
        """Take the row of the session that was not used for longest out of memory; the journal has it."""
        for session in self._resident[engine].values():
            if not session.pinned:
                self._leave_memory(session, "pressure")
                return
        raise Overloaded(f"all {engine.table.capacity} rows of model {engine.model.manifest.id} are in use at once")

    def _leave_memory(self, session: Session, reason: str) -> None:
        assert session.slot is not None
        del self._resident[session.engine][session.id]
        session.engine.table.release(session.slot)
        session.slot = None
        self._watch.on_eviction(session.model.manifest.name, reason)
        self._count_bytes(session.engine)

    def _count_bytes(self, engine: Engine) -> None:
        name = engine.model.manifest.name
        tables = [other.table for other in self._resident if other.model.manifest.name == name]
        self._watch.on_state_bytes(name, sum(table.in_use * table.row_bytes for table in tables))

    def _free_id(self, wanted: str | None) -> str:
        if wanted is None:
            return secrets.token_hex(16)
        if not SESSION_ID.fullmatch(wanted):
            raise InputMismatch(
                f"id: expected letters, digits, '.', '_', ':' and '-', at most 128, got {wanted[:140]!r}",
                parameter="id",
            )
        if wanted in self._sessions and not self._sessions[wanted].is_over:
            raise SessionExists(f"session {wanted} is open already: use it, close it, or choose another id")
        if wanted in self._sessions:
            self._forget([self._sessions[wanted]], "expired")
        return wanted

    def _time_to_live(self, wanted: float | None) -> float:
        if wanted is None:
            return self._limits.time_to_live_s
        if not 0 < wanted <= self._limits.max_time_to_live_s:
            raise InputMismatch(
                f"time_to_live_s: expected more than 0 and at most {self._limits.max_time_to_live_s:g} seconds, "
                f"got {wanted:g}",
                parameter="time_to_live_s",
            )
        return wanted
