"""The log of a SQLite journal: commits are written to it, and folded into the table of sessions when nobody waits.

A commit is one row, written and synchronised by one statement, over a row of the same length that is of the past where
there is one: to insert and delete took twice as long, most of it for SQLite to keep account of free pages. Which rows
are of the past is told by a number in the table of facts, which changes with the last slice of a fold.

All methods but `find` and `items` need the journal's lock, and raise what SQLite raises.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections import deque
from collections.abc import Collection, Sequence
from typing import Any

from service.errors import JournalDamaged
from service.journal import Entry, sqlite_table
from service.journal.codec import Records
from service.journal.log_row import LogRow, is_removal, read_row, write_row
from service.journal.recent import Recent
from service.journal.sqlite_file import in_words
from service.journal.sqlite_table import Head

log = logging.getLogger(__name__)

LOG_BYTES = 8 * 2**20
"""Of the log, after which it is folded; about so much lies in memory, and is read at a start."""
CHECKPOINT_BYTES = 32 * 2**20
"""Written, after which SQLite's own write-ahead log is copied into the file."""
QUIET_SECONDS = 30.0
"""Without a commit, after which the log is folded however short it is."""
_SLICE = 64
_SPARE = 4
"""How many times the log's bytes may lie about in rows that can be written over, before some are deleted."""
_DELETED_AT_ONCE = 16
_OVERDUE = 4
"""How many times too much there may be for whoever never calls `work_off`."""


class Log:
    """The log behind the connection that writes.

    Raises:
        JournalDamaged: what a process before this one left in the log cannot be read, or is not all there.
    """

    def __init__(self, connection: sqlite3.Connection, records: Records[Any], log_bytes: int) -> None:
        self._connection = connection
        self._records = records
        self._log_bytes = log_bytes
        self._recent = Recent()
        self._rows: deque[tuple[int, int, int]] = deque()
        """Number, length and place of each commit in the log, the first one first."""
        self._free: dict[int, list[int]] = {}
        """Places that may be written over, by their length."""
        self._free_bytes = 0
        self._last_place = 0
        self._last_count = 0
        self._committed = time.monotonic()
        self._unsaved = 0
        self._take_up()

    def find(self, session_id: str) -> Entry | None:
        """The session's entry that the table does not have yet, or its removal. May be called from any thread."""
        return self._recent.find(session_id)

    def items(self) -> dict[str, Entry]:
        """Every session with an entry that the table does not have yet, or its removal. May be called from any
        thread."""
        return self._recent.items()

    def stands(self, session_ids: Collection[str]) -> dict[str, Entry | Head]:
        """Where sessions stand, by the log or else by the table; nothing for those that there are none of."""
        found: dict[str, Entry | Head] = {}
        elsewhere = []
        find = self._recent.find
        for session_id in session_ids:
            entry = find(session_id)
            if entry is None:
                elsewhere.append(session_id)
            elif not is_removal(entry):
                found[session_id] = entry
        if elsewhere:
            found.update(sqlite_table.heads(self._connection, elsewhere))
        return found

    def append(self, entries: Sequence[Entry], replacing: Sequence[str]) -> None:
        """Write entries of distinct sessions to the disk as one row, and then take them in.

        Args:
            replacing: the ids of those that take the place of another session in the table, or of removals.
        """
        if not entries:
            return
        number = self._recent.last_number + 1
        row = write_row(number, entries, self._records)
        size = len(row)
        self._rows.append((number, size, self._write(row)))
        self._recent.add(number, size, entries, replacing)
        self._unsaved += size
        self._last_count = len(entries)
        self._committed = time.monotonic()
        if self._recent.bytes > _OVERDUE * self._log_bytes or self._unsaved > _OVERDUE * CHECKPOINT_BYTES:
            self._work_off_late()

    def _write(self, row: bytearray) -> int:
        """Write a row to the disk, and return its place."""
        free = self._free.get(len(row))
        if free:
            self._connection.execute("UPDATE recent SET items = ? WHERE row = ?", (row, free[-1]))
            self._free_bytes -= len(row)
            return free.pop()
        self._connection.execute("INSERT INTO recent VALUES (?, ?)", (self._last_place + 1, row))
        self._last_place += 1
        return self._last_place

    @property
    def has_work(self) -> bool:
        """Whether `work_off` has something to do though commits go on. May be asked by any thread."""
        recent = self._recent
        due = recent.bytes > self._log_bytes if recent.folded_to is None else recent.bytes >= self._log_bytes // 4
        return due or self.is_long

    @property
    def is_long(self) -> bool:
        """Whether SQLite's own write-ahead log had better begin anew. May be asked by any thread."""
        return self._unsaved > CHECKPOINT_BYTES

    def shorten(self) -> None:
        """Let SQLite's own write-ahead log begin anew, if nobody reads what is in it."""
        self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        self._unsaved = 0

    def work_off(self) -> None:
        """A slice of a fold, where it is time for one."""
        recent, quiet = self._recent, time.monotonic() - self._committed > QUIET_SECONDS
        if recent.folded_to is None and (recent.bytes > self._log_bytes or quiet and recent.bytes):
            recent.begin_fold()
        # Busy sessions are given time to be committed anew, and need not be written then.
        if recent.folded_to is not None and (recent.bytes >= self._log_bytes // 4 or quiet):
            self._fold(max(_SLICE, 2 * self._last_count))
        elif self._free_bytes > _SPARE * self._log_bytes:
            self._delete_spare()

    def _work_off_late(self) -> None:
        """For whoever never calls `work_off`; a commit that is stored does not fail by it."""
        try:
            self.work_off()
            if self._unsaved > _OVERDUE * CHECKPOINT_BYTES:
                self.shorten()
        except sqlite3.Error as error:
            log.warning("the journal's housekeeping failed: %s", in_words(error))

    def finish(self) -> None:
        """Fold everything, and leave one file that holds it all."""
        while self._recent.folded_to is not None or self._recent.bytes:
            if self._recent.folded_to is None:
                self._recent.begin_fold()
            self._fold(1024)
        self._connection.execute("DELETE FROM recent")
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _fold(self, count: int) -> None:
        """Write some of what was set aside to the table; when all is written, its rows are of the past."""
        changes = self._recent.slice(count)
        # Should power fail, the log still has it.
        with sqlite_table.one_transaction(self._connection):
            if changes:
                self._unsaved += 2 * sqlite_table.write(self._connection, changes, self._records)
            else:
                sqlite_table.note_folded(self._connection, self._recent.folded_to or 0)
        self._recent.written(changes)
        if not changes:
            self._free_up_to(self._recent.folded_to or 0)
            self._recent.end_fold()

    def _free_up_to(self, number: int) -> None:
        while self._rows and self._rows[0][0] <= number:
            _, size, place = self._rows.popleft()
            self._add_free(size, place)

    def _add_free(self, size: int, place: int) -> None:
        self._free.setdefault(size, []).append(place)
        self._free_bytes += size

    def _delete_spare(self) -> None:
        """Delete some rows of the length of which there is most to spare."""
        size = max(self._free, key=lambda size: size * len(self._free[size]))
        places = self._free[size][-_DELETED_AT_ONCE:]
        with sqlite_table.one_transaction(self._connection):
            self._connection.executemany("DELETE FROM recent WHERE row = ?", [(place,) for place in places])
        del self._free[size][-_DELETED_AT_ONCE:]
        self._free_bytes -= size * len(places)
        self._unsaved += size * len(places) // 8

    def _take_up(self) -> None:
        """Read what is there."""
        folded = sqlite_table.folded_to(self._connection)
        self._recent.last_number = folded
        kept: list[tuple[LogRow, int, int]] = []
        for place, items in self._connection.execute("SELECT row, items FROM recent"):
            row = read_row(place, items, self._records)
            self._last_place = max(self._last_place, place)
            if row.number > folded:
                kept.append((row, len(items), place))
            else:
                self._add_free(len(items), place)
        kept.sort(key=lambda one: one[0].number)
        require_no_gap([row.number for row, *_ in kept], folded)
        for row, size, place in kept:
            self._rows.append((row.number, size, place))
            # Whether the table holds other sessions by these ids is not known any more: to replace is always right.
            self._recent.add(row.number, size, row.entries, [entry.session_id for entry in row.entries])


def require_no_gap(numbers: Sequence[int], folded: int) -> None:
    """Raises JournalDamaged where commits are missing between others, or there twice."""
    expected = range(numbers[0], numbers[0] + len(numbers)) if numbers else range(0)
    if list(numbers) != list(expected) or (numbers and folded and numbers[0] != folded + 1):
        raise JournalDamaged(
            f"the log of recent commits is not whole: {len(numbers)} commits from {numbers[0]} to {numbers[-1]} after "
            f"{folded} that were folded; if the file was put back from a copy, its old -wal file may lie beside it: "
            "see `python -m service journal restore`"
        )
