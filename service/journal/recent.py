"""What was committed lately and does not stand in the table of sessions yet: the log of a SQLite journal, in memory.

Every commit is one row of the log. From time to time the log is *folded*: what it holds is set aside, the sessions in
it are written to the table a slice at a time, and then its rows may be written over. A session that was committed
again meanwhile is left out, since the newer log holds it whole: a busy session costs its row of the log and no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from service.journal import Entry


class Change(NamedTuple):
    """What the table is to be told of a session.

    Args:
        entry: where it stands now, or that it was removed.
        replaces: the table may hold another session by this id, which has to go first.
    """

    entry: Entry
    replaces: bool


class Recent:
    """The last entry of every session in the log. All methods need the journal's lock, except `find`."""

    def __init__(self) -> None:
        self._newest: dict[str, Entry] = {}
        self._folding: dict[str, Entry] = {}
        self._replaced: set[str] = set()
        """Of the sessions above, those that may take the place of others in the table."""
        self.bytes = 0
        """Of the log since the last fold began."""
        self.last_number = 0
        self.folded_to: int | None = None
        """The number of the last commit that a fold is to write to the table; None when none is going on."""

    def find(self, session_id: str) -> Entry | None:
        """The session's last entry; None if the log has none. May be called from any thread."""
        # In this order: what a fold sets aside goes from the first to the second.
        return self._newest.get(session_id) or self._folding.get(session_id)

    def items(self) -> dict[str, Entry]:
        """Every session in the log with its last entry."""
        return {**self._folding, **self._newest}

    def add(self, number: int, size: int, entries: Sequence[Entry], replacing: Sequence[str]) -> None:
        """Take in the entries of a commit, and the ids of those that take the place of other sessions."""
        self.last_number = number
        self.bytes += size
        self._replaced.update(replacing)
        for entry in entries:
            self._newest[entry.session_id] = entry

    def begin_fold(self) -> None:
        """Set aside what there is; `slice` hands it out."""
        assert self.folded_to is None, "one fold at a time"
        # What is set aside can be found there before the newest is emptied, for whoever is in `find`.
        self._folding = self._newest
        self._newest = {}
        self.folded_to, self.bytes = self.last_number, 0

    def slice(self, count: int) -> list[Change]:
        """Up to `count` changes to be written to the table; none when all are."""
        found: list[Change] = []
        over: list[str] = []
        for session_id, entry in self._folding.items():
            if session_id in self._newest:
                over.append(session_id)
            elif len(found) < count:
                found.append(Change(entry, session_id in self._replaced))
            else:
                break
        for session_id in over:
            del self._folding[session_id]
        return found

    def written(self, changes: Sequence[Change]) -> None:
        """Let go of changes that the table holds."""
        for change in changes:
            del self._folding[change.entry.session_id]
            self._replaced.discard(change.entry.session_id)

    def end_fold(self) -> None:
        """The log up to `folded_to` is of the past."""
        assert not self._folding
        self.folded_to = None
