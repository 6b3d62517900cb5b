"""Which sessions of one engine have their rows in memory, and where the others' rows are.

A row enters the state table when its session is first used, leaves it under pressure, and comes back on demand. A
durable journal has every committed row anyhow; one that is not is handed only rows that leave, and gives them back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from service.contract.manifest import Manifest
from service.engine.engine import Engine
from service.engine.state_table import Rows
from service.errors import Overloaded
from service.journal import Entry
from service.sessions.async_journal import AsyncJournal
from service.sessions.commit import entry_of
from service.sessions.ownership import SessionKey
from service.sessions.session import Session

_MOST_AT_ONCE = 64
"""Rows that leave together where one has to; fewer from a small table."""


class ResidenceWatch(Protocol):
    """What a residence tells whoever counts."""

    def on_eviction(self, model: str, reason: str) -> None:
        """A row left memory because of `pressure`, or its session was closed or expired."""


class Residence:
    """The rows of one engine's sessions. All methods belong to the event loop."""

    def __init__(self, engine: Engine, journal: AsyncJournal, watch: ResidenceWatch) -> None:
        self._table = engine.table
        self._model = engine.model.manifest
        self._journal = journal
        self._watch = watch
        self._at_once = max(1, min(_MOST_AT_ONCE, self._table.capacity // _MOST_AT_ONCE))
        # An array, because the garbage collector does not walk through it as it would through a list.
        self._in_slot: NDArray[Any] = np.empty(self._table.capacity, object)
        # The row that all sessions of the model start from, where it is one; and rows that are at hand and in no slot:
        # of sessions not used yet that start from their own, and of those that were just loaded.
        self._initial = None if _has_own_rows(self._model) else engine.model.initial()
        self._at_hand: dict[SessionKey, Rows] = {}

    @property
    def state_bytes(self) -> int:
        """What the rows in memory take."""
        return self._table.in_use * self._table.row_bytes

    def add(self, session: Session, row: Rows) -> None:
        """Keep the row (S,) that a new session starts from; it takes no slot before it is used."""
        if row is not self._initial:
            self._at_hand[session.key] = row

    def place(self, session: Session, row: Rows) -> None:
        """Let this row (S,) be the session's, in place of what memory has of it."""
        if session.slot is None:
            self._at_hand[session.key] = row
        else:
            self._table.put([session.slot], row[np.newaxis])

    def bring(self, session: Session) -> bool:
        """See to it that the session's row is in the state table, if nothing has to be waited for; whether it is.

        Raises:
            Overloaded: every row in memory is about to be read or written.
        """
        row = self.row_outside(session)
        if row is None:
            return False
        slot = self._table.acquire(row)
        if slot is None and self._make_room():
            slot = self._table.acquire(row)
        if slot is None:
            return False
        session.slot = slot
        self._in_slot[slot] = session
        if self._at_hand.pop(session.key, None) is None and not self._journal.durable:
            self._journal.journal.remove([session.key])
        return True

    async def store_some(self) -> None:
        """Have the journal store rows that it does not have and that have to leave, and let them go.

        Raises:
            Overloaded: every row in memory is in use.
            JournalUnavailable, JournalDamaged: they stay where they are.
        """
        leaving = [session for session in islice(self._evictable(), self._at_once) if session.try_hold()]
        if not leaving:
            raise Overloaded(f"all {self._table.capacity} rows of model {self._model.id} are in use at once")
        try:
            rows = self._table.take([session.slot for session in leaving if session.slot is not None])
            entries = [
                entry_of(session, session.record, row.tobytes()) for session, row in zip(leaving, rows, strict=True)
            ]
            refused = await self._journal.commit(entries)
            for session, entry in zip(leaving, entries, strict=True):
                if session.key in refused:
                    session.stale = True
                else:
                    session.stored, session.stored_expires = entry.position, entry.expires
                    session.durable_position = entry.position
                if session.slot is not None:
                    self._leave(session, "pressure")
        finally:
            for session in leaving:
                session.release()

    def row(self, session: Session) -> Rows:
        """A copy of the session's row (S,), wherever it is; nothing is moved."""
        if session.slot is not None:
            return np.asarray(self._table.take([session.slot])[0])
        row = self.row_outside(session)
        if row is None:
            entry = self._journal.journal.load(session.key)
            assert entry is not None, "a row that was used is in memory or in the journal"
            row = np.frombuffer(entry.row, np.float32)
        return row.copy()

    def forget(self, session: Session, reason: str) -> None:
        """Let go of a session's row in memory; what the journal has of it stays there."""
        self._at_hand.pop(session.key, None)
        if session.slot is not None:
            self._leave(session, reason)

    def _make_room(self) -> bool:
        """Let some rows leave; whether any could that the journal need not be waited for.

        Raises:
            Overloaded: every row in memory is about to be read or written.
        """
        leaving = list(islice(self._evictable(), self._at_once))
        if not leaving:
            raise Overloaded(f"all {self._table.capacity} rows of model {self._model.id} are in use at once")
        if self._journal.durable:
            leaving = [session for session in leaving if session.stale or session.durable_position == session.position]
        else:
            self._hand_over(leaving)
        for session in leaving:
            self._leave(session, "pressure")
        return bool(leaving)

    def _hand_over(self, leaving: Sequence[Session]) -> None:
        # The rows alone, at once, since a device gives many as soon as one; the sessions themselves go on living.
        rows = self._table.take([session.slot for session in leaving if session.slot is not None])
        pairs = zip(leaving, rows, strict=True)
        self._journal.journal.commit(
            [Entry(session.key, session.position, row.tobytes(), None) for session, row in pairs]
        )

    def _evictable(self) -> Iterator[Session]:
        """Sessions whose rows may leave, those not used for longest first."""
        sessions = (self._in_slot[slot] for slot in self._table.least_recently_used())
        return (session for session in sessions if session is not None and not session.pinned)

    def _leave(self, session: Session, reason: str) -> None:
        assert session.slot is not None
        self._in_slot[session.slot] = None
        self._table.release(session.slot)
        session.slot = None
        self._watch.on_eviction(self._model.name, reason)

    def row_outside(self, session: Session) -> Rows | None:
        """The row of a session that has no slot; None where the journal has to be waited for."""
        row = self._at_hand.get(session.key)
        if row is not None:
            return row
        if self._journal.durable:
            return self._initial if session.position == 0 else None
        entry = self._journal.journal.load(session.key)
        if entry is not None:
            return np.frombuffer(entry.row, np.float32)
        assert self._initial is not None and session.position == 0, "a row that was used is in memory or in the journal"
        return self._initial


def _has_own_rows(manifest: Manifest) -> bool:
    """Whether each session starts from a row of its own."""
    return manifest.forecast is not None and bool(manifest.forecast.static_covariates)
