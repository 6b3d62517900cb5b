"""Earlier places of a session that a fork may begin at: where its last turns ended, and checkpoints that have a name.

Turn ends are rows in this process's memory: the last few of each session, of all sessions as many as fit. A checkpoint
is an entry of the journal beside its session's, under a name that no session's id can be, and lives for its session's
time to live, counted from when it was made.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from service.engine.state_table import Rows
from service.errors import InputMismatch, PositionConflict
from service.journal import ANYWHERE, Entry, clock
from service.sessions.async_journal import AsyncJournal
from service.sessions.ownership import SessionKey

if TYPE_CHECKING:
    from service.sessions.session import Record, Session
    from service.sessions.turn import Turn

MARK = "@"
"""Between a session's id and a checkpoint's name, in the journal."""
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


class Checkpoints:
    """Checkpoints in a journal. All methods belong to the event loop."""

    def __init__(self, journal: AsyncJournal) -> None:
        self._journal = journal

    async def save(self, turn: Turn, name: str) -> None:
        """Keep the session as it stands under a name, in place of what had that name.

        Raises:
            InputMismatch: no such name can be, or the session has as many as it may.
        """
        session = turn.session
        if not CHECKPOINT_NAME.fullmatch(name):
            raise InputMismatch(
                f"name: expected letters, digits, '.', '_', ':' and '-', at most 64, got {name[:80]!r}",
                parameter="name",
            )
        names = dict(session.checkpoints)
        if name not in names and len(names) >= MAX_CHECKPOINTS:
            raise InputMismatch(
                f"name: session {session.id} has {len(names)} checkpoints, and no more may be: remove one",
                parameter="name",
            )
        await self._commit(session, entry_of_checkpoint(session, name, await turn.row()))
        session.checkpoints = tuple(sorted({**names, name: session.position}.items()))

    async def find(self, session: Session, name: str) -> Kept:
        """The session as it stood.

        Raises:
            InputMismatch: there is no checkpoint of that name.
        """
        key = name_in_journal(session, name)
        entry = await self._journal.load(key) if self._journal.durable else self._journal.journal.load(key)
        if entry is None or not entry.row or entry.epoch != session.epoch:
            known = ", ".join(known for known, _ in session.checkpoints) or "none"
            raise InputMismatch(
                f"checkpoint: session {session.id} has none named {name[:80]!r}; known are {known}",
                parameter="checkpoint",
            )
        record: Record = entry.record
        return Kept(entry.position, np.frombuffer(entry.row, np.float32), record.text_pending, record.recent)

    async def remove(self, session: Session, name: str) -> None:
        """Forget a checkpoint; raises as `find` does."""
        await self.find(session, name)
        keys = [name_in_journal(session, name)]
        if self._journal.durable:
            await self._journal.remove(keys)
        else:
            self._journal.journal.remove(keys)
        session.checkpoints = tuple(pair for pair in session.checkpoints if pair[0] != name)

    async def _commit(self, session: Session, entry: Entry) -> None:
        if self._journal.durable:
            await self._journal.commit([entry])
        else:
            self._journal.journal.commit([entry])


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
    raise PositionConflict(
        f"session {session.id}: position {position} is no longer kept: the nearest is {nearest}; kept are "
        f"{', '.join(map(str, known))} and the checkpoints that have a name",
        position=session.position,
        durable_position=session.durable_position,
        nearest=nearest,
    )


def entry_of_checkpoint(session: Session, name: str, row: Rows) -> Entry:
    """What the journal is to hold of a checkpoint."""
    expires = clock.now() + session.time_to_live_s
    record = session.record_at(session.position, None)
    return Entry(
        name_in_journal(session, name), session.position, row.tobytes(), record, session.epoch, ANYWHERE, expires
    )


def name_in_journal(session: Session, name: str) -> SessionKey:
    """A name that no session's key can be."""
    return SessionKey(f"{session.key}{MARK}{name}")


def names_in_journal(session: Session) -> list[SessionKey]:
    """All that the journal may have of a session: itself and its checkpoints."""
    return [session.key, *(name_in_journal(session, name) for name, _ in session.checkpoints)]
