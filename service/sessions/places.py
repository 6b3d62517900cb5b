"""Earlier places of a session that a fork may begin at: where its last turns ended, and checkpoints that have a name.

Turn ends are rows in this process's memory: the last few of each session, of all sessions as many as fit. Checkpoints
are one entry of the journal beside their session's, under a name that no session's id can be: whoever ends a session
knows that name without asking, and a compare-and-set on it keeps what replicas save at once. Each lives for its
session's time to live, counted from when it was made. Those of sessions that no journal has are in memory, too.
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from service.engine.state_table import Rows
from service.errors import InputMismatch, PositionConflict, SessionMoved
from service.journal import NOWHERE, Entry, Journal, clock
from service.journal.memory import MemoryJournal
from service.sessions.async_journal import AsyncJournal
from service.sessions.ownership import SessionKey

if TYPE_CHECKING:
    from service.sessions.record import Record
    from service.sessions.session import Session
    from service.sessions.turn import Turn

MARK = "@"
"""After a session's key, in the name that its checkpoints have in the journal."""
CHECKPOINT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
MAX_CHECKPOINTS = 16
TURN_ENDS = 8
_TURN_END_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Place:
    """Where a fork is to begin: at a position, or at a checkpoint."""

    position: int | None = None
    checkpoint: str | None = None


class Kept(NamedTuple):
    """A session as it stood: its row (S,) and what else of it changes from turn to turn."""

    position: int
    row: Rows
    text_pending: bytes
    recent: bytes

    def record_of(self, session: Session) -> Record:
        """What another session that begins there is to remember."""
        return session.record_at(self.position, None, text_pending=self.text_pending, recent=self.recent)


class TurnEnds:
    """Where the last turns of sessions of text began and ended. All methods belong to the event loop.

    Args:
        most_bytes: of all rows together; those of sessions not used for longest go first.
    """

    def __init__(self, most_bytes: int = _TURN_END_BYTES) -> None:
        self._most = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[tuple[SessionKey, int], deque[Kept]] = OrderedDict()

    async def note(self, turn: Turn) -> None:
        """Remember where the session stands as a turn begins, and so where the one before ended."""
        session = turn.session
        key = (session.key, session.epoch)
        kept = self._kept.get(key)
        if kept is None:
            kept = self._kept[key] = deque()
        self._kept.move_to_end(key)
        if kept and kept[-1].position == session.position:
            return
        row = await turn.row()
        if len(kept) == TURN_ENDS:
            self._bytes -= kept.popleft().row.nbytes
        kept.append(Kept(session.position, row, session.text_pending, session.recent))
        self._bytes += row.nbytes
        while self._bytes > self._most:
            _, gone = self._kept.popitem(last=False)
            self._bytes -= sum(one.row.nbytes for one in gone)

    def of(self, session: Session) -> Sequence[Kept]:
        """Those that are remembered of a session, in rising order of position."""
        return self._kept.get((session.key, session.epoch), ())

    def forget(self, session: Session) -> None:
        """The session is over."""
        gone = self._kept.pop((session.key, session.epoch), ())
        self._bytes -= sum(one.row.nbytes for one in gone)


class Checkpoint(msgspec.Struct, frozen=True, array_like=True):
    """A place with a name, but for its row; `expires` is Unix time in seconds."""

    name: str
    position: int
    text_pending: bytes = b""
    recent: bytes = b""
    expires: float = math.inf


class _Saved(NamedTuple):
    """All checkpoints of a session by name, with their rows (S,).

    Args:
        version: of the journal's entry, which the next one follows.
        of_another: whether the entry there is of another session, that had the same id.
    """

    version: int
    by_name: dict[str, tuple[Checkpoint, Rows]]
    of_another: bool = False


class Checkpoints:
    """Checkpoints in a journal. All methods belong to the event loop."""

    def __init__(self, journal: AsyncJournal) -> None:
        self._journal = journal
        self._memory: Journal = MemoryJournal() if journal.durable else journal.journal
        """For those of sessions that no durable journal has."""

    async def save(self, turn: Turn, name: str) -> None:
        """Keep the session as it stands under a name, in place of what had that name.

        Raises:
            InputMismatch: no such name can be, or the session has as many as it may.
            SessionMoved: another replica has changed them meanwhile.
            JournalUnavailable: it could not be stored.
        """
        session = turn.session
        if not CHECKPOINT_NAME.fullmatch(name):
            raise InputMismatch(
                f"name: expected letters, digits, '.', '_', ':' and '-', at most 64, got {name[:80]!r}",
                parameter="name",
            )
        saved = await self._load(session)
        if name not in saved.by_name and len(saved.by_name) >= MAX_CHECKPOINTS:
            raise InputMismatch(
                f"name: session {session.id} has {len(saved.by_name)} checkpoints, and no more may be: remove one",
                parameter="name",
            )
        row = await turn.row()
        expires = clock.now() + session.time_to_live_s
        saved.by_name[name] = (
            Checkpoint(name, session.position, session.text_pending, session.recent, expires),
            row,
        )
        if saved.of_another:
            await self._remove(session)
        await self._commit(session, saved)

    async def of(self, session: Session) -> list[tuple[str, int]]:
        """The names and positions of a session's checkpoints, in the order of their names.

        Raises:
            JournalUnavailable: it cannot be found out.
        """
        saved = await self._load(session)
        return sorted((name, one.position) for name, (one, _) in saved.by_name.items())

    async def find(self, session: Session, name: str) -> Kept:
        """The session as it stood.

        Raises:
            InputMismatch: there is no checkpoint of that name.
            JournalUnavailable: it cannot be found out.
        """
        saved = await self._load(session)
        _require(session, saved, name)
        one, row = saved.by_name[name]
        return Kept(one.position, row, one.text_pending, one.recent)

    async def remove(self, session: Session, name: str) -> None:
        """Forget a checkpoint; raises as `find` and `save` do."""
        saved = await self._load(session)
        _require(session, saved, name)
        del saved.by_name[name]
        await self._commit(session, saved)

    def forget(self, key: SessionKey) -> None:
        """The session is over here: what memory alone has of its checkpoints goes with it."""
        self._memory.remove([name_in_journal(key)])

    async def _load(self, session: Session) -> _Saved:
        key = name_in_journal(session.key)
        entry = await self._journal.load(key) if self._is_stored(session) else self._memory.load(key)
        now = clock.now()
        if entry is None or entry.expires <= now:
            return _Saved(NOWHERE, {})
        if entry.epoch != session.epoch:
            return _Saved(NOWHERE, {}, of_another=True)
        record: Record = entry.record
        count = len(record.checkpoints)
        rows = np.frombuffer(entry.row, np.float32).reshape(count, -1) if count else ()
        pairs = zip(record.checkpoints, rows, strict=True)
        return _Saved(entry.position, {one.name: (one, row) for one, row in pairs if one.expires > now})

    async def _commit(self, session: Session, saved: _Saved) -> None:
        entry = _entry_of(session, saved)
        refused = await self._journal.commit([entry]) if self._is_stored(session) else self._memory.commit([entry])
        if refused:
            raise SessionMoved(f"checkpoints of session {session.id} were changed by another replica: ask again")

    async def _remove(self, session: Session) -> None:
        if self._is_stored(session):
            await self._journal.remove([name_in_journal(session.key)])
        else:
            self.forget(session.key)

    def _is_stored(self, session: Session) -> bool:
        return self._journal.durable and session.durability != "none"


def _require(session: Session, saved: _Saved, name: str) -> None:
    if name not in saved.by_name:
        known = ", ".join(sorted(saved.by_name)) or "none"
        raise InputMismatch(
            f"checkpoint: session {session.id} has none named {name[:80]!r}; known are {known}", parameter="checkpoint"
        )


def _entry_of(session: Session, saved: _Saved) -> Entry:
    """What the journal is to hold of all checkpoints of a session; its position counts how often they changed."""
    checkpoints = tuple(one for one, _ in saved.by_name.values())
    row = b"".join(row.tobytes() for _, row in saved.by_name.values())
    expires = max((one.expires for one in checkpoints), default=clock.now() + session.time_to_live_s)
    record = session.record_at(session.position, None, checkpoints=checkpoints)
    version = saved.version
    return Entry(name_in_journal(session.key), version + 1, row, record, session.epoch, version, expires)


async def standing(turn: Turn, place: Place, checkpoints: Checkpoints) -> Kept:
    """The session as it stands, or as it stood at a place.

    Raises:
        PositionConflict, InputMismatch: it is not kept there.
    """
    session = turn.session
    if place.checkpoint is not None:
        return await checkpoints.find(session, place.checkpoint)
    if place.position is not None and place.position != session.position:
        return place_in(session, session.home.turn_ends.of(session), place.position)
    return Kept(session.position, await turn.row(), session.text_pending, session.recent)


def place_in(session: Session, kept: Sequence[Kept], position: int) -> Kept:
    """The one at a position.

    Raises:
        PositionConflict: there is none; says which are, and the nearest.
    """
    for one in kept:
        if one.position == position:
            return one
    known = sorted({*(one.position for one in kept), session.position})
    nearest = min(known, key=lambda other: abs(other - position))
    why = "is not kept" if position < session.position else "is ahead of it: it has not been there yet"
    raise PositionConflict(
        f"session {session.id}: position {position} {why}; the nearest is {nearest}; kept are "
        f"{', '.join(map(str, known))} and the checkpoints that have a name",
        position=session.position,
        durable_position=session.durable_position,
        nearest=nearest,
    )


def name_in_journal(key: SessionKey) -> SessionKey:
    """The name of a session's checkpoints, which no session's key can be."""
    return SessionKey(f"{key}{MARK}")


def names_in_journal(keys: Iterable[SessionKey]) -> list[SessionKey]:
    """All that the journal may have of sessions: themselves and their checkpoints."""
    return [name for key in keys for name in (key, name_in_journal(key))]
