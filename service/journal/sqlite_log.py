"""The log of a SQLite journal: commits are appended to it, and folded into the table of sessions when nobody waits.

A commit is one row, written and synchronised by one statement. All methods but `find` need the journal's lock, and
raise what SQLite raises.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Collection, Iterator, Mapping

from service.journal import sqlite_table
from service.journal.recent import Change, Head, Recent, decode_items, encode_items
from service.journal.sqlite_file import in_words

log = logging.getLogger(__name__)

LOG_BYTES = 32 * 2**20
"""Of the log, after which it is folded; about so much lies in memory, and is read at a start."""
CHECKPOINT_BYTES = 32 * 2**20
"""Written, after which SQLite's own write-ahead log is copied into the file."""
QUIET_SECONDS = 30.0
"""Without a commit, after which the log is folded however short it is."""
_SLICE = 64
_ROWS_DELETED_AT_ONCE = 16
_OVERDUE = 4
"""How many times too much there may be for whoever never calls `work_off`."""


class Log:
    """The log behind the connection that writes.

    Raises:
        JournalDamaged: what a process before this one left in the log cannot be read.
    """

    def __init__(self, connection: sqlite3.Connection, log_bytes: int) -> None:
        self._connection = connection
        self._log_bytes = log_bytes
        self._recent = Recent()
        self._last_size = 0
        self._committed = time.monotonic()
        self._unsaved = 0
        for row, content in connection.execute("SELECT row, items FROM recent ORDER BY row"):
            for session_id, change in decode_items(content):
                self._recent.add(session_id, change)
            self._recent.row_added(row, len(content))

    def find(self, session_id: str) -> Change | None:
        """The session's change that the table does not have yet. May be called from any thread."""
        return self._recent.find(session_id)

    def items(self) -> Iterator[tuple[str, Change]]:
        """Every session with a change that the table does not have yet."""
        return self._recent.items()

    def heads(self, session_ids: Collection[str]) -> dict[str, Head]:
        """Where sessions stand, by the log or else by the table; nothing for those that there are none of."""
        found: dict[str, Head] = {}
        elsewhere = []
        for session_id in session_ids:
            change = self._recent.find(session_id)
            if change is None:
                elsewhere.append(session_id)
            elif change.head is not None:
                found[session_id] = change.head
        return found | sqlite_table.heads(self._connection, elsewhere)

    def append(self, changes: Mapping[str, Change]) -> None:
        """Write changes to the disk as one row, and then take them in."""
        if not changes:
            return
        content, row = encode_items(changes), self._recent.last_row + 1
        self._connection.execute("INSERT INTO recent VALUES (?, ?)", (row, content))
        self._recent.row_added(row, len(content))
        for session_id, change in changes.items():
            self._recent.add(session_id, change)
        self._unsaved += len(content)
        self._last_size = len(changes)
        self._committed = time.monotonic()
        if self._recent.bytes > _OVERDUE * self._log_bytes or self._unsaved > _OVERDUE * CHECKPOINT_BYTES:
            self._work_off_late()

    def work_off(self) -> None:
        """A slice of a fold, or a checkpoint, where it is time for one."""
        recent, quiet = self._recent, time.monotonic() - self._committed > QUIET_SECONDS
        if recent.folded_to is None and (recent.bytes > self._log_bytes or quiet and recent.bytes):
            recent.begin_fold()
        # Busy sessions are given time to be committed anew, and need not be written then.
        if recent.folded_to is not None and (recent.bytes >= self._log_bytes // 4 or quiet):
            self._fold(max(_SLICE, 2 * self._last_size))
        elif self._unsaved > CHECKPOINT_BYTES:
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            self._unsaved = 0

    def _work_off_late(self) -> None:
        """For whoever never calls `work_off`; a commit that is stored does not fail by it."""
        try:
            self.work_off()
        except sqlite3.Error as error:
            log.warning("the journal's housekeeping failed: %s", in_words(error))

    def finish(self) -> None:
        """Fold everything, and leave one file that holds it all."""
        while self._recent.folded_to is not None or self._recent.bytes:
            if self._recent.folded_to is None:
                self._recent.begin_fold()
            self._fold(1024)
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _fold(self, count: int) -> None:
        """Write some of what was set aside to the table; when all is written, delete it from the log piece by piece."""
        changes = self._recent.slice(count)
        # Should power fail, the log still has it.
        with sqlite_table.one_transaction(self._connection):
            if changes:
                self._unsaved += 2 * sqlite_table.write(self._connection, changes)
            else:
                self._delete_folded()
        self._recent.written(changes)

    def _delete_folded(self) -> None:
        to = self._recent.folded_to
        rows = self._connection.execute(
            "SELECT row FROM recent WHERE row <= ? ORDER BY row LIMIT ?", (to, _ROWS_DELETED_AT_ONCE)
        ).fetchall()
        if rows:
            self._connection.execute("DELETE FROM recent WHERE row <= ?", rows[-1])
        if not rows or rows[-1][0] == to:
            self._recent.end_fold()
