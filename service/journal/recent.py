"""What was committed lately and does not stand in the table of sessions yet: the log of a SQLite journal, in memory.

Every commit is one appended row of the log. From time to time the log is *folded*: what it holds is set aside, the
sessions in it are written to the table a slice at a time, and then its rows are deleted. A session that was committed
again meanwhile is left out, since the newer log holds it whole: a busy session costs its appended row and no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from msgspec.msgpack import Decoder, Encoder

from service.errors import JournalDamaged
from service.journal.stored import unpack

_encoder = Encoder()
# Ids of sessions and their stored entries, empty where a session was removed.
_decoder: Decoder[list[tuple[str, bytes]]] = Decoder(list[tuple[str, bytes]])


class Head(NamedTuple):
    """Where a session stands in the journal."""

    epoch: int
    position: int
    expires: float


class Change(NamedTuple):
    """A session's last change.

    Args:
        head: where it stands now; None if it was removed.
        data: the stored entry; empty if it was removed.
        replaces: the table may hold another session by this id, which has to go first.
    """

    head: Head | None
    data: bytes
    replaces: bool


def encode_items(changes: Mapping[str, Change]) -> bytes:
    """The content of one row of the log: changes by session id."""
    return _encoder.encode([(session_id, change.data) for session_id, change in changes.items()])


def decode_items(data: bytes) -> list[tuple[str, Change]]:
    """The changes in one row of the log, with the ids of their sessions, in order.

    Raises:
        JournalDamaged: it cannot be read.
    """
    try:
        items = _decoder.decode(data)
    except ValueError as error:
        raise JournalDamaged(f"the log of recent commits cannot be read: {error}") from error
    return [(session_id, _change(session_id, content)) for session_id, content in items]


def _change(session_id: str, data: bytes) -> Change:
    # Whether the table holds another session by that id is not known any more: to replace is always right.
    if not data:
        return Change(None, data, replaces=True)
    stored = unpack(data, session_id)
    return Change(Head(stored.epoch, stored.position, stored.expires), data, replaces=True)


class Recent:
    """The last change of every session in the log. All methods need the journal's lock, except `find`."""

    def __init__(self) -> None:
        self._newest: dict[str, Change] = {}
        self._folding: dict[str, Change] = {}
        self.bytes = 0
        """Of the log since the last fold began."""
        self.last_row = 0
        self.folded_to: int | None = None
        """The last row of the log that a fold is to write to the table; None when none is going on."""

    def find(self, session_id: str) -> Change | None:
        """The session's last change; None if the log has none. May be called from any thread."""
        # In this order: what a fold sets aside goes from the first to the second.
        return self._newest.get(session_id) or self._folding.get(session_id)

    def items(self) -> Iterator[tuple[str, Change]]:
        """Every session in the log with its last change."""
        return iter(({**self._folding, **self._newest}).items())

    def add(self, session_id: str, change: Change) -> None:
        """Take in a change that is in the log's newest row."""
        older = self.find(session_id)
        if older is not None and older.replaces and not change.replaces:
            change = change._replace(replaces=True)
        self._newest[session_id] = change

    def row_added(self, row: int, size: int) -> None:
        """Count a row of the log."""
        self.last_row = row
        self.bytes += size

    def begin_fold(self) -> None:
        """Set aside what there is; `slice` hands it out."""
        assert self.folded_to is None, "one fold at a time"
        # The dictionary for what is set aside is filled before the newest is emptied, for whoever is in `find`.
        self._folding = self._newest
        self._newest = {}
        self.folded_to, self.bytes = self.last_row, 0

    def slice(self, count: int) -> list[tuple[str, Change]]:
        """Up to `count` changes to be written to the table; none when all are."""
        found: list[tuple[str, Change]] = []
        for session_id in list(self._folding):
            if session_id in self._newest:
                del self._folding[session_id]
            elif len(found) < count:
                found.append((session_id, self._folding[session_id]))
            else:
                break
        return found

    def written(self, changes: Sequence[tuple[str, Change]]) -> None:
        """Let go of changes that the table holds."""
        for session_id, _ in changes:
            del self._folding[session_id]

    def end_fold(self) -> None:
        """The log's rows up to `folded_to` are deleted."""
        assert not self._folding
        self.folded_to = None
