"""All sessions of a process: opened, found, listed, forked, expired and closed here, and nowhere else.

Built for a million of them: nothing here walks over all sessions for one request, or in one turn of the event loop.
"""

from __future__ import annotations

import asyncio
import math
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Literal, Protocol

import numpy as np

from service.engine.engine import Engine
from service.engine.state_table import Rows
from service.errors import InputMismatch, Overloaded, SessionExists, SessionExpired, SessionNotFound
from service.journal import Journal
from service.sessions.deadlines import Deadlines
from service.sessions.listing import Listing
from service.sessions.residence import Residence, ResidenceWatch
from service.sessions.session import Session

SESSION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_SEED_BITS = 53
"""What every JSON reader holds exactly, so that a client can send back the seed it was told."""
_REMEMBERED_EXPIRED = 100_000
_LOOK_SECONDS = 1.0
_AT_ONCE = 256
"""Sessions that are looked at in one turn of the event loop, where many are."""


class SessionWatch(ResidenceWatch, Protocol):
    """What the store tells whoever counts."""

    def on_session(self, model: str, event: str) -> None:
        """`event` is opened, forked, closed or expired."""

    def on_rejected(self, model: str) -> None:
        """A session was refused because there is no room."""

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
        self._listing = Listing()
        self._deadlines = Deadlines()
        self._residences: dict[Engine, Residence] = {}
        # One for all sessions: each would otherwise carry a bound method of its own.
        self._row_of = self._slot_of
        self._expired: OrderedDict[str, None] = OrderedDict()
        self._looked = -math.inf

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
            row_of=self._row_of,
        )
        if len(self._sessions) >= self._limits.max_sessions:
            self._make_room()
        if len(self._sessions) >= self._limits.max_sessions:
            self._watch.on_rejected(engine.model.manifest.name)
            raise Overloaded(
                f"{len(self._sessions)} sessions are open, and no more may be: close some", retry_after_s=5
            )
        if like is not None:
            session.position, session.text_pending = like.position, like.text_pending
        self._residence(engine).add(session, row)
        if self._journal.durable:
            session.durable_position = session.position
        self._sessions[session.id] = session
        self._listing.add(session)
        self._deadlines.file(session)
        self._expired.pop(session.id, None)
        self._watch.on_session(engine.model.manifest.name, "opened" if like is None else "forked")
        return session

    def find(self, session_id: str) -> Session | None:
        """The session by that id, if there is one; its time may just have passed."""
        return self._sessions.get(session_id)

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
        for session_id in self._listing.after(after, model):
            session = self._sessions[session_id]
            if not session.is_over:
                if len(found) == limit:
                    return found, found[-1].id
                found.append(session)
        return found, None

    def row(self, session: Session) -> Rows:
        """A copy of a live session's committed row (S,), wherever it is; nothing is moved, and it is no use."""
        return self._residence(session.engine).row(session)

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
        """End all chosen sessions that are there now, and return how many that were."""
        started, count = time.time(), 0
        last: str | None = None
        await self.sweep()
        while ids := list(islice(self._listing.after(last, None), _AT_ONCE)):
            last = ids[-1]
            there = [session for session in map(self._sessions.__getitem__, ids) if session.created <= started]
            picked = [session for session in there if chosen(session)]
            count += self._forget([session for session in picked if not session.busy], "closed")
            for session in (session for session in picked if session.ended is None):
                count += await self._close_after_others(session, chosen)
            await asyncio.sleep(0)
        return count

    async def _close_after_others(self, session: Session, chosen: Callable[[Session], bool]) -> int:
        """End a session unless others do meanwhile, its time passes, or it is used and is chosen no more."""
        with suppress(SessionNotFound, SessionExpired, Overloaded):
            async with session.turn(touch=False):
                if chosen(session):
                    return self._forget([session], "closed")
        return 0

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

    async def sweep(self) -> int:
        """Forget the sessions whose time is over, and return how many; others are served in between."""
        count = 0
        due = self._deadlines.due()
        while looked := list(islice(due, _AT_ONCE)):
            count += self._settle(looked)
            await asyncio.sleep(0)
        return count

    def _make_room(self) -> None:
        """Forget some sessions whose time is over, but not for every request of a crowd that finds no room."""
        if time.monotonic() - self._looked > _LOOK_SECONDS:
            self._looked = time.monotonic()
            self._settle(list(islice(self._deadlines.due(), _AT_ONCE)))

    def _settle(self, looked: Sequence[Session]) -> int:
        """Forget those whose time is over, look at the others again when theirs may be, and return how many went."""
        for session in looked:
            self._deadlines.file(session)
        return self._forget([session for session in looked if session.is_over], "expired")

    def engines_in_use(self) -> set[Engine]:
        """The engines that some session needs; the others' rows are let go of."""
        needed = self._listing.engines()
        self._residences = {engine: rows for engine, rows in self._residences.items() if engine in needed}
        return needed

    def _forget(self, sessions: Sequence[Session], event: Literal["closed", "expired"]) -> int:
        """End sessions at once, and return how many that were."""
        for session in sessions:
            session.ended = event
            del self._sessions[session.id]
            self._listing.remove(session)
            self._deadlines.drop(session)
            self._residence(session.engine).forget(session, event)
            if event == "expired":
                self._remember_expired(session.id)
        self._journal.remove([session.id for session in sessions])
        for session in sessions:
            self._watch.on_session(session.model.manifest.name, event)
        self._count_bytes({session.engine for session in sessions})
        return len(sessions)

    def _remember_expired(self, session_id: str) -> None:
        self._expired[session_id] = None
        if len(self._expired) > _REMEMBERED_EXPIRED:
            self._expired.popitem(last=False)

    def _slot_of(self, session: Session) -> int:
        """See to it that the session's row is in the state table: the session's `row_of`."""
        if session.slot is None:
            self._residence(session.engine).bring(session)
            self._count_bytes([session.engine])
        assert session.slot is not None
        return session.slot

    def _residence(self, engine: Engine) -> Residence:
        if engine not in self._residences:
            self._residences[engine] = Residence(engine, self._journal, self._watch)
        return self._residences[engine]

    def _count_bytes(self, engines: Iterable[Engine]) -> None:
        for name in {engine.model.manifest.name for engine in engines}:
            of_name = (rows for engine, rows in self._residences.items() if engine.model.manifest.name == name)
            self._watch.on_state_bytes(name, sum(rows.state_bytes for rows in of_name))

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
