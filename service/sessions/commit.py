"""How a finished job moves its session: an entry for the journal, where that outlives the process, then the session."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from service.engine.job import Durability, Result
from service.journal import Entry, clock

if TYPE_CHECKING:
    from service.sessions.record import Record
    from service.sessions.session import Session


class SessionCommit:
    """The commit of one job of a session that is held for it."""

    __slots__ = ("_make_record", "_record", "_session", "slot")

    def __init__(self, session: Session, slot: int, record: Callable[[Result], Record]) -> None:
        self.slot = slot
        self._session = session
        self._make_record = record
        self._record: Record | None = None

    @property
    def durability(self) -> Durability:
        return self._session.durability

    def entry(self, result: Result) -> Entry:
        self._record = self._make_record(result)
        return entry_of(self._session, self._record, result.row_bytes)

    def apply(self, result: Result) -> None:
        session, record = self._session, self._record or self._make_record(result)
        session.position = record.position
        session.first_timestamp = record.first_timestamp
        session.text_pending = record.text_pending
        session.recent = record.recent
        session.last = record.last
        session.touch()
        note_commit(session)

    def discard(self) -> None:
        self._session.stale = True


def entry_of(session: Session, record: Record, row: bytes) -> Entry:
    """What the journal is to hold of a session, to follow what it was handed of it last."""
    expires = clock.now() + session.time_to_live_s
    return Entry(session.key, record.position, row, record, session.epoch, session.stored, expires)


def note_commit(session: Session) -> None:
    """Let a session know that the journal has been handed the entry of its position; and whether it has it."""
    if not session.engine.durable or session.durability == "none":
        return
    session.stored = session.position
    session.stored_expires = session.expires
    if session.durability == "sync":
        session.durable_position = session.position
