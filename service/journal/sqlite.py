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
from itertools import islice, takewhile
from pathlib import Path
from threading import Lock
from typing import Any

from msgspec.structs import replace

from service.errors import JournalDamaged, JournalUnavailable
from service.journal import ANYWHERE, NONE_REFUSED, NOWHERE, Entry, Listed, clock, sqlite_table
from service.journal.belonging import note_opening, require_own_log
from service.journal.brief import Brevity
from service.journal.codec import Records
from service.journal.log_row import is_removal, removal
from service.journal.sqlite_file import JournalError, as_ours, connect, open_for_writing, owned, touch
from service.journal.sqlite_log import LOG_BYTES, Log
from service.journal.sqlite_table import Head
from service.journal.stored import ended, unpack_entry

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
        self, path: Path, records: Records[Any], *, log_bytes: int = LOG_BYTES, patience_s: float = 0.5
    ) -> None:
        self._path = path
        self._records = records
        self._writing = Lock()
        self._reading = Lock()
        self._copying = Lock()
        self._trouble: JournalUnavailable | JournalDamaged | None = None
        self._looked = time.monotonic()
        self._brevity = Brevity()
        with ExitStack() as undo:
            undo.enter_context(owned(path, patience_s))
            require_own_log(path)
            self._writer = open_for_writing(path)
            undo.callback(self._writer.close)
            self._reader = connect(path, writes=True)
            self._reader.execute("PRAGMA query_only = ON")
            undo.callback(self._reader.close)
            self._copier = connect(path, writes=True)
            undo.callback(self._copier.close)
            self._inode = os.stat(path).st_ino
            try:
                with self._translated():
                    self._log = Log(self._writer, records, log_bytes)
                    note_opening(self._writer, path)
            except (JournalDamaged, JournalUnavailable) as error:
                raise JournalError(error.message) from error
            self._undo = undo.pop_all()

    @property
    def trouble(self) -> str | None:
        return None if self._trouble is None else self._trouble.message

    # Commits.

    def commit(self, entries: Sequence[Entry]) -> AbstractSet[str]:
        with self._writes():
            return self._commit(entries)

    def commit_now(self, entries: Sequence[Entry]) -> AbstractSet[str] | None:
        if self._trouble is not None or not self._brevity.is_likely or not self._writing.acquire(blocking=False):
            return None
        started = time.perf_counter()
        try:
            with self._noting_trouble():
                return self._commit(entries)
        finally:
            self._writing.release()
            self._brevity.took(time.perf_counter() - started)

    def _commit(self, entries: Sequence[Entry]) -> AbstractSet[str]:
        stands = self._log.stands([entry.session_id for entry in entries])
        refused: set[str] = set()
        replacing = []
        for entry in entries:
            stood = stands.get(entry.session_id)
            if not _follows(entry, stood):
                refused.add(entry.session_id)
            elif stood is not None and stood.epoch != entry.epoch:
                replacing.append(entry.session_id)
        if not refused:
            self._log.append(entries, replacing)
            return NONE_REFUSED
        self._log.append([entry for entry in entries if entry.session_id not in refused], replacing)
        return refused

    def remove(self, session_ids: Iterable[str]) -> None:
        names = list(session_ids)
        with self._writes():
            self._log.append(list(map(removal, names)), names)

    def extend(self, expires: Mapping[str, float]) -> None:
        with self._writes():
            found = [self._stands(session_id, self._writer) for session_id in expires]
            entries = [entry for entry in found if isinstance(entry, Entry)]
            later = [entry for entry in entries if expires[entry.session_id] > entry.expires]
            self._log.append([replace(entry, expires=expires[entry.session_id]) for entry in later], ())

    # Reading.

    def load(self, session_id: str) -> Entry | None:
        with self._reads() as reader:
            stands = self._stands(session_id, reader)
        if isinstance(stands, Head):
            return ended(session_id, *stands)
        return None if stands is None else replace(stands, previous=stands.position)

    def _stands(self, session_id: str, connection: sqlite3.Connection) -> Entry | Head | None:
        """A session's last entry, or only where it stood once it has expired; None if there is no such session."""
        entry = self._log.find(session_id)
        if entry is not None:
            return None if is_removal(entry) else entry
        found = sqlite_table.value(connection, session_id)
        if found is None or found[1] is None:
            return None if found is None else found[0]
        return unpack_entry(found[1], self._records, session_id)

    def page(self, after: str, limit: int, prefix: str = "") -> tuple[list[Listed], str]:
        # The log first: what a fold moves to the table meanwhile is then told twice rather than never.
        recent = self._log.items()
        after = max(after, prefix)
        with self._reads() as reader:
            rows = sqlite_table.living(reader, after)
            stood = ((name, head) for name, head in rows if name not in recent)
            moved = (
                (name, Head(entry.epoch, entry.position, entry.expires))
                for name, entry in sorted(recent.items(), key=lambda item: item[0])
                if name > after and not is_removal(entry)
            )
            now = clock.now()
            living = (
                Listed(name, head.position, head.expires if head.expires < sqlite_table.NEVER else math.inf)
                for name, head in merge(stood, moved, key=lambda pair: pair[0])
                if head.expires > now
            )
            # In the order of their ids, those that begin alike come one after the other.
            found = list(islice(takewhile(lambda listed: listed.session_id.startswith(prefix), living), limit))
        return found, found[-1].session_id if len(found) == limit else ""

    # Housekeeping.

    @property
    def is_untidy(self) -> bool:
        return self._log.has_work

    def tend(self) -> None:
        with self._writes():
            if self._trouble is not None:
                touch(self._writer)
            elif time.monotonic() - self._looked > _LOOK_SECONDS:
                self._looked = time.monotonic()
                self._require_same_file()
            self._log.work_off()
        if self._log.is_long:
            self._shorten()

    def _shorten(self) -> None:
        """Copy what SQLite's write-ahead log holds into the file, so that it can begin anew."""
        if not self._copying.acquire(blocking=False):
            return
        try:
            # Commits go on meanwhile. What they add is little, and is copied while they wait.
            with self._noting_trouble():
                self._copier.execute("PRAGMA wal_checkpoint(PASSIVE)")
            with self._writes():
                self._log.shorten()
        finally:
            self._copying.release()

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
        with self._copying, self._writing:
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
            with self._noting_trouble():
                yield

    @contextmanager
    def _noting_trouble(self) -> Iterator[None]:
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


def _follows(entry: Entry, stands: Entry | Head | None) -> bool:
    """Whether the session stands where the entry takes it up."""
    if stands is not None and stands.position == entry.previous and stands.epoch == entry.epoch:
        return True
    if entry.previous == NOWHERE:
        return stands is None or stands.expires <= clock.now()
    return entry.previous == ANYWHERE
