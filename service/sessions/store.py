"""All sessions of a process: opened, found, listed, forked, moved to another version and closed here."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice

from service.engine.engine import Engine
from service.engine.job import Durability
from service.engine.state_table import Rows
from service.errors import InputMismatch, JournalUnavailable, Overloaded, SessionExpired, SessionNotFound, VersionGone
from service.journal import NOWHERE, Entry, clock, draw_epoch
from service.sessions.async_journal import AsyncJournal
from service.sessions.commit import entry_of
from service.sessions.live import AT_ONCE, LiveSessions, SessionWatch
from service.sessions.new_session import NewSession
from service.sessions.ownership import SESSION_ID, SessionKey, Whose, public_id, session_key
from service.sessions.places import MARK, Checkpoints, Place, names_in_journal, standing
from service.sessions.quota import Allowance, Quota
from service.sessions.record import Record
from service.sessions.restoring import exists, lives
from service.sessions.session import Session
from service.sessions.threshold import require_threshold

_SEED_BITS = 53
"""What every JSON reader holds exactly, so that a client can send back the seed it was told."""


@dataclass(frozen=True)
class StoreLimits:
    """Bounds of the store, and what holds where a client asks for nothing else.

    Args:
        max_sessions: in memory at once; idle ones make room where the journal has them.
        time_to_live_s: without use, after which a session is gone.
        durability: what answers wait for.
    """

    max_sessions: int
    time_to_live_s: float
    max_time_to_live_s: float
    durability: Durability = "sync"


class SessionStore:
    """The sessions of a process. All methods belong to the event loop.

    Args:
        engine_of: the engine that an entry's session runs on; raises VersionGone where there is none.
        allowance: how many sessions owners may have; no limits if None.
    """

    def __init__(
        self,
        journal: AsyncJournal,
        watch: SessionWatch,
        limits: StoreLimits,
        engine_of: Callable[[Entry], Engine],
        allowance: Allowance | None = None,
    ) -> None:
        self._journal = journal
        self._limits = limits
        self.checkpoints = Checkpoints(journal)
        self.live = LiveSessions(journal, watch, limits.max_sessions, engine_of)
        self._quota = Quota(journal, self.live, allowance)
        self.live.on_ended = self._on_ended
        self._opening: set[SessionKey] = set()

    def __len__(self) -> int:
        return len(self.live)

    def __iter__(self) -> Iterator[Session]:
        return iter(self.live)

    async def add(self, engine: Engine, row: Rows, wanted: NewSession, at: Record | None = None) -> Session:
        """A new session that starts from `row` (S,), at position 0 or where the record `at` stands.

        Raises:
            InputMismatch: an id, a time to live or a threshold that cannot be.
            SessionExists: the id is taken.
            Overloaded: as many sessions live as may, or as many of this owner's.
            JournalUnavailable: it could not be stored.
        """
        async with self._quota.one_more(wanted.owner):
            return await self._add(engine, row, wanted, at)

    async def _add(self, engine: Engine, row: Rows, wanted: NewSession, at: Record | None) -> Session:
        session = Session(
            key=self._free_key(wanted.owner, wanted.id),
            engine=engine,
            seed=secrets.randbits(_SEED_BITS) if wanted.seed is None else wanted.seed,
            time_to_live_s=self._time_to_live(wanted.time_to_live_s),
            first_timestamp=wanted.first_timestamp,
            home=self.live,
            durability=wanted.durability or self._limits.durability,
            anomaly_threshold=require_threshold(engine.model, wanted.anomaly_threshold),
            frequency=wanted.frequency,
            epoch=draw_epoch(),
        )
        self.live.require_room(engine)
        if at is not None:
            session.position, session.text_pending, session.last = at.position, at.text_pending, at.last
            session.recent = at.recent
        if self._journal.durable:
            with self._reserved(session.key):
                await self._store_opening(session, row, is_chosen=wanted.id is not None)
            there = self.live.find(session.key)
            if there is not None:
                return there  # somebody has asked for it as soon as it was stored
        self.live.add(session, row, "opened" if at is None else "forked")
        return session

    async def _store_opening(self, session: Session, row: Rows, *, is_chosen: bool) -> None:
        if session.durability == "none":
            if is_chosen and lives(await self._journal.load(session.key)):
                raise exists(session.key)
            return
        entry = entry_of(session, session.record, row.tobytes())
        try:
            refused = await self._journal.commit([entry])
        except JournalUnavailable:
            # Whoever is told that it could not be opened may come again with the same id.
            self._journal.remove_later([session.key])
            raise
        if refused:
            raise exists(session.key)
        session.stored = session.durable_position = entry.position
        session.stored_expires = entry.expires

    @contextmanager
    def _reserved(self, key: SessionKey) -> Iterator[None]:
        """Keep a name for who is opening it."""
        if key in self._opening:
            raise exists(key)
        self._opening.add(key)
        try:
            yield
        finally:
            self._opening.discard(key)

    def _on_ended(self, key: SessionKey) -> None:
        self._quota.on_ended(key)
        self.checkpoints.forget(key)

    def find(self, key: SessionKey) -> Session | None:
        """The session by that name, if it is in memory; its time may just have passed."""
        return self.live.find(key)

    async def get(self, key: SessionKey) -> Session:
        """The session by that name, from the journal where it is not in memory.

        Raises:
            SessionExpired: it lived and was not used for its time to live.
            SessionNotFound: there is none.
            VersionGone: its model version is not served here.
            JournalUnavailable: it cannot be found out.
        """
        session = self.live.find(key)
        if session is not None and not session.is_over:
            return session
        if session is not None:
            self.live.forget([session], "expired")
        if not self._journal.durable or not SESSION_ID.fullmatch(public_id(key)):
            raise self.live.not_there(key)
        return await self.live.restored(key)

    async def look(self, key: SessionKey) -> Session:
        """The session by that name as it stands now, wherever it was moved; raises as `get` does."""
        session = await self.get(key)
        if self._journal.shared:
            async with session.turn(touch=False, fresh=True):
                pass
        return session

    async def model_of(self, key: SessionKey) -> str:
        """The name of the model that a session is on, whether a version of it is served here or not."""
        try:
            return (await self.get(key)).model.manifest.name
        except VersionGone:
            entry = await self._journal.load(key)
            if entry is None:
                raise self.live.not_there(key) from None
            record: Record = entry.record
            return record.model_id.rpartition("/")[0]

    def row(self, session: Session) -> Rows:
        """A copy of a live session's committed row (S,), wherever it is; nothing is moved, and it is no use."""
        return self.live.row(session)

    async def close(self, key: SessionKey) -> None:
        """End a session, after what was asked of it before; also one whose model is not served here."""
        try:
            session = await self.get(key)
        except VersionGone:
            await self._journal.remove(names_in_journal([key]))
            return
        async with session.turn():
            await self._close([session])

    async def discard_unused(self, session: Session) -> None:
        """End a session, unless by the time of its turn others have taken it into use or ended it."""
        with suppress(SessionNotFound, SessionExpired, Overloaded, JournalUnavailable):
            async with session.turn(touch=False):
                if session.position == 0:
                    await self._close([session])

    async def close_many(self, whose: Whose, chosen: Callable[[Session], bool]) -> int:
        """End all chosen sessions of someone's that are in memory now, and return how many that were."""
        started, count = clock.now(), 0
        last: str | None = None
        await self.live.sweep()
        while keys := list(islice(self.live.listing.after(last, None, whose.prefix), AT_ONCE)):
            last = keys[-1]
            there = [self.live[key] for key in keys if whose.include(key)]
            picked = [session for session in there if session.created <= started and chosen(session)]
            count += await self._close_idle(picked)
            for session in (session for session in picked if session.ended is None):
                count += await self._close_after_others(session, chosen)
            await asyncio.sleep(0)
        return count

    async def close_stored(self, whose: Whose, model: str | None, idle_for_s: float) -> int:
        """End someone's sessions that only the journal has, of one model if it is named; how many that were."""
        count, after = 0, ""
        while self._journal.durable:
            listed, after = await self._journal.page(after, AT_ONCE, whose.prefix)
            away = [key for key in listed if MARK not in key and whose.include(key) and self.find(key) is None]
            entries = await self._journal.load_all(away)
            chosen = [key for key, entry in entries.items() if entry is not None and _is_of(entry, model, idle_for_s)]
            if chosen:
                await self._journal.remove(names_in_journal(chosen))
                count += len(chosen)
            if not after:
                break
        return count

    async def _close_idle(self, picked: Sequence[Session]) -> int:
        """End those of the sessions that nobody is at."""
        if not self._journal.durable:
            return self.live.forget([session for session in picked if not session.busy], "closed")
        held = [session for session in picked if session.try_hold()]
        try:
            return await self._close(held)
        finally:
            for session in held:
                session.release()

    async def _close_after_others(self, session: Session, chosen: Callable[[Session], bool]) -> int:
        """End a session unless others do meanwhile, its time passes, or it is used and is chosen no more."""
        with suppress(SessionNotFound, SessionExpired, Overloaded):
            async with session.turn(touch=False):
                if chosen(session):
                    return await self._close([session])
        return 0

    async def _close(self, held: Sequence[Session]) -> int:
        """End sessions that are held for it, in the journal as well."""
        stored = [session.key for session in held if session.stored != NOWHERE] if self._journal.durable else []
        try:
            if stored:
                await self._journal.remove(names_in_journal(stored))
        finally:
            count = self.live.forget([session for session in held if session.ended is None], "closed")
        return count

    async def fork(
        self,
        key: SessionKey,
        new_id: str | None,
        seed: int | None,
        place: Place | None = None,
        threshold: float | None = None,
    ) -> Session:
        """A new session of the same owner, standing where this one does or did; its seed is new unless given.

        Raises:
            PositionConflict, InputMismatch: the place is not kept.
            SessionNotFound, SessionExpired, SessionExists, Overloaded, JournalUnavailable
        """
        parent = await self.get(key)
        async with parent.turn(fresh=True) as turn:
            parent.engine.require_running()
            kept = await standing(turn, place or Place(), self.checkpoints)
            wanted = NewSession(
                *(parent.owner, new_id, seed),
                *(parent.first_timestamp, parent.time_to_live_s, parent.durability),
                parent.anomaly_threshold if threshold is None else threshold,
                parent.frequency,
            )
            return await self.add(parent.engine, kept.row, wanted, kept.record_of(parent))

    async def sweep(self) -> int:
        """Forget the sessions whose time is over, and return how many; others are served in between."""
        return await self.live.sweep()

    def engines_in_use(self) -> set[Engine]:
        """The engines that some session needs."""
        return self.live.engines_in_use()

    def _free_key(self, owner: str | None, wanted: str | None) -> SessionKey:
        if wanted is None:
            return session_key(owner, secrets.token_hex(16))
        if not SESSION_ID.fullmatch(wanted):
            raise InputMismatch(
                f"id: expected letters, digits, '.', '_', ':' and '-', at most 128, got {wanted[:140]!r}",
                parameter="id",
            )
        key = session_key(owner, wanted)
        there = self.live.find(key)
        if there is not None and not there.is_over:
            raise exists(key)
        if there is not None:
            self.live.forget([there], "expired")
        return key

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


def _is_of(entry: Entry, model: str | None, idle_for_s: float) -> bool:
    """Whether an entry's session lives, is on the model, and was not used for so long."""
    if not lives(entry):
        return False
    record: Record = entry.record
    idle_s = clock.now() - (entry.expires - record.time_to_live_s)
    return model in (None, record.model_id.rpartition("/")[0]) and idle_s >= idle_for_s
