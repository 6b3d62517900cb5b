"""Which sessions of one engine have their rows in memory, and where the others' rows are.

A row enters the state table when its session is first used, leaves it under pressure, and comes back on demand. A
durable journal has every committed row anyhow; one that is not is handed only rows that leave, and gives them back.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from service.contract.manifest import Manifest
from service.engine.engine import Engine
from service.engine.state_table import Rows
from service.errors import Overloaded
from service.journal import Entry, Journal
from service.sessions.session import Session

_MOST_AT_ONCE = 64
"""Rows that leave together where one has to; fewer from a small table."""


class ResidenceWatch(Protocol):
    """What a residence tells whoever counts."""

    def on_eviction(self, model: str, reason: str) -> None:
        """A row left memory because of `pressure`, or its session was closed or expired."""


class Residence:
    """The rows of one engine's sessions. All methods belong to the event loop."""

    def __init__(self, engine: Engine, journal: Journal, watch: ResidenceWatch) -> None:
        self._table = engine.table
        self._model = engine.model.manifest
        self._journal = journal
        self._watch = watch
        self._at_once = max(1, min(_MOST_AT_ONCE, self._table.capacity // _MOST_AT_ONCE))
        # An array, because the garbage collector does not walk through it as it would through a list.
        self._in_slot: NDArray[Any] = np.empty(self._table.capacity, object)
        # The row that all sessions of the model start from, where it is one; and those rows of sessions not used yet
        # that are their own, by id.
        self._initial = None if _has_own_rows(self._model) else engine.model.initial()
        self._first: dict[str, Rows] = {}

    @property
    def state_bytes(self) -> int:
        """What the rows in memory take."""
        return self._table.in_use * self._table.row_bytes

    def add(self, session: Session, row: Rows) -> None:
        """Keep the row (S,) that a new session starts from; it takes no slot before it is used."""
        if self._journal.durable:
            self._journal.commit([Entry(session.id, session.position, row.tobytes(), session.record)])
        elif row is not self._initial:
            self._first[session.id] = row

    def bring(self, session: Session) -> None:
        """See to it that the session's row is in the state table.

        Raises:
            Overloaded: every row in memory is about to be read or written.
        """
        row = self._row_outside(session)
        slot = self._table.acquire(row)
        if slot is None:
            self._make_room()
            slot = self._table.acquire(row)
        assert slot is not None, "room was made"
        session.slot = slot
        self._in_slot[slot] = session
        if self._first.pop(session.id, None) is None and not self._journal.durable:
            self._journal.remove([session.id])

    def row(self, session: Session) -> Rows:
        """A copy of the session's row (S,), wherever it is; nothing is moved."""
        if session.slot is None:
            return self._row_outside(session).copy()
        return np.asarray(self._table.take([session.slot])[0])

    def forget(self, session: Session, reason: str) -> None:
        """Let go of a session's row in memory; what the journal has of it stays there."""
        self._first.pop(session.id, None)
        if session.slot is not None:
            self._leave(session, reason)

    def _make_room(self) -> None:
        leaving = list(islice(self._evictable(), self._at_once))
        if not leaving:
            raise Overloaded(f"all {self._table.capacity} rows of model {self._model.id} are in use at once")
        if not self._journal.durable:
            # The rows alone, at once, since a device gives many as soon as one; the sessions themselves go on living.
            rows = self._table.take([session.slot for session in leaving if session.slot is not None])
            pairs = zip(leaving, rows, strict=True)
            self._journal.commit([Entry(session.id, session.position, row.tobytes(), None) for session, row in pairs])
        for session in leaving:
            self._leave(session, "pressure")

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

    def _row_outside(self, session: Session) -> Rows:
        first = self._first.get(session.id)
        if first is not None:
            return first
        entry = self._journal.load(session.id)
        if entry is not None:
            return np.frombuffer(entry.row, np.float32)
        assert self._initial is not None and session.position == 0, "a row that was used is in memory or in the journal"
        return self._initial


def _has_own_rows(manifest: Manifest) -> bool:
    """Whether each session starts from a row of its own."""
    return manifest.forecast is not None and bool(manifest.forecast.static_covariates)
