"""The journal in one SQLite file: what was committed is on the disk before it is answered.

Only this process writes to the file, so a compare-and-set compares with what lies in memory of the log, and asks the
table for the rest. See `service.journal.recent` for how commits become rows of the table of sessions.
"""

from __future__ import annotations

import math
import os
import secrets
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import ExitStack, contextmanager
from heapq import merge
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any

from service.errors import JournalDamaged, JournalUnavailable
from service.journal import ANYWHERE, NONE_REFUSED, NOWHERE, Entry, Listed, clock, sqlite_table
from service.journal.codec import Records
from service.journal.recent import Change, Head
from service.journal.sqlite_file import JournalError, as_ours, connect, open_for_writing, owned, touch
from service.journal.sqlite_log import LOG_BYTES, Log
from service.journal.stored import ended, pack_entry, unpack_entry, with_expiry

_LOOK_SECONDS = 1.0


class SqliteJournal:
    """One file, one process.

    Args:
        patience_s: seconds to wait for a process that holds the file still.

    Raises:
        JournalError: the file cannot be used: another application's, of another schema, damaged, not writable, in use.
    """

    durable = True
    shared = False

    def __init__(
        self, path: Path, records: Records[Any], *, log_bytes: int = LOG_BYTES, patience_s: float = 5.0
    ) -> None:
        self._path = path
        self._records = records
        self._writing = Lock()
        self._reading = Lock()
        self._trouble: JournalUnavailable | JournalDamaged | None = None
        self._looked = time.monotonic()
        with ExitStack() as undo:
            undo.enter_context(owned(path, patience_s))
            self._writer = open_for_writing(path)
            undo.callback(self._writer.close)
            self._reader = connect(path, writes=True)
            self._reader.execute("PRAGMA query_only = ON")
            undo.callback(self._reader.close)
            self._inode = os.stat(path).st_ino
            try:
                with self._translated():
                    self._log = Log(self._writer, log_bytes)
            except (JournalDamaged, JournalUnavailable) as error:
                raise JournalError(error.message) from error
            self._undo = undo.pop_all()

    @property
    def trouble(self) -> str | None:
        return None if self._trouble is None else self._trouble.message

    # Commits.

    def commit(self, entries: Sequence[Entry]) -> AbstractSet[str]:
        with self._writes():
            heads = self._log.heads([entry.session_id for entry in entries])
            refused = set()
            changes: dict[str, Change] = {}
            for entry in entries:
                head = heads.get(entry.session_id)
                if _follows(entry, head):
                    replaces = head is not None and head.epoch != entry.epoch
                    moved = Head(entry.epoch, entry.position, entry.expires)
                    changes[entry.session_id] = Change(moved, pack_entry(entry, self._records), replaces)
                else:
                    refused.add(entry.session_id)
            self._log.append(changes)
            return refused or NONE_REFUSED

    def remove(self, session_ids: Iterable[str]) -> None:
        changes = {session_id: Change(None, b"", replaces=True) for session_id in session_ids}
        with self._writes():
            self._log.append(changes)

    def extend(self, expires: Mapping[str, float]) -> None:
        with self._writes():
            changes: dict[str, Change] = {}
            for session_id, until in expires.items():
                stands = self._stands(session_id, self._writer)
                if stands is not None and stands[1] and until > stands[0].expires:
                    changes[session_id] = Change(
                        stands[0]._replace(expires=until), with_expiry(stands[1], until), replaces=False
                    )
            self._log.append(changes)

    # Reading.

    def load(self, session_id: str) -> Entry | None:
        with self._reads() as reader:
            stands = self._stands(session_id, reader)
        if stands is None:
            return None
        head, data = stands
        return ended(session_id, *head) if data is None else unpack_entry(data, self._records, session_id)

    def _stands(self, session_id: str, connection: sqlite3.Connection) -> tuple[Head, bytes | None] | None:
        """Where a session stands, with its stored entry unless it has expired; None if there is no such session."""
        change = self._log.find(session_id)
        if change is None:
            return sqlite_table.value(connection, session_id)
        return None if change.head is None else (change.head, change.data)

    def page(self, after: str, limit: int) -> tuple[list[Listed], str]:
        # The log first: what a fold moves to the table meanwhile is then told twice rather than never.
        recent = dict(self._log.items())
        with self._reads() as reader:
            rows = sqlite_table.living(reader, after)
            stood = ((name, head) for name, head in rows if name not in recent)
            moved = ((name, recent[name].head) for name in sorted(recent) if name > after)
            now = clock.now()
            living = (
                Listed(name, head.position, head.expires if head.expires < sqlite_table.NEVER else math.inf)
                for name, head in merge(stood, moved, key=lambda pair: pair[0])
                if head is not None and head.expires > now
            )
            found = list(islice(living, limit))
        return found, found[-1].session_id if len(found) == limit else ""

    # Housekeeping.

    def tend(self) -> None:
        with self._writes():
            if self._trouble is not None:
                touch(self._writer)
            elif time.monotonic() - self._looked > _LOOK_SECONDS:
                self._looked = time.monotonic()
                self._require_same_file()
            self._log.work_off()

    def sweep(self) -> list[str]:
        with self._writes(), sqlite_table.one_transaction(self._writer):
            return sqlite_table.sweep(self._writer, clock.now(), self._log.find)

    def secret(self, name: str) -> bytes:
        with self._writes():
            self._writer.execute(
                "INSERT OR IGNORE INTO facts VALUES (?, ?)", (f"secret {name}", secrets.token_bytes(32))
            )
            value = self._writer.execute("SELECT value FROM facts WHERE name = ?", (f"secret {name}",)).fetchone()
            return bytes(value[0])

    def close(self) -> None:
        with self._writing:
            if not isinstance(self._trouble, JournalDamaged):
                try:
                    self._log.finish()
                except sqlite3.Error as error:
                    # The log has it all, and the next start reads it.
                    self._trouble = as_ours(error, self._path)
            self._undo.close()

    # Connections, and what can go wrong with them.

    @contextmanager
    def _writes(self) -> Iterator[None]:
        with self._writing:
            if isinstance(self._trouble, JournalDamaged):
                raise self._trouble
            try:
                with self._translated():
                    yield
            except (JournalDamaged, JournalUnavailable) as error:
                self._trouble = error
                raise
            self._trouble = None

    @contextmanager
    def _reads(self) -> Iterator[sqlite3.Connection]:
        with self._reading:
            try:
                with self._translated():
                    yield self._reader
            except JournalDamaged as error:
                # Not one session's entry but the file: nothing is written to it any more.
                self._trouble = error
                raise

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise as_ours(error, self._path) from error

    def _require_same_file(self) -> None:
        try:
            same = os.stat(self._path).st_ino == self._inode
        except OSError:
            same = False
        if not same:
            raise JournalDamaged(
                f"journal {self._path.name}: the file was moved or deleted: put it back and start the service again"
            )


def _follows(entry: Entry, head: Head | None) -> bool:
    """Whether the session stands where the entry takes it up."""
    if entry.previous == ANYWHERE:
        return True
    if entry.previous == NOWHERE:
        return head is None or head.expires <= clock.now()
    return head is not None and (head.epoch, head.position) == (entry.epoch, entry.previous)
