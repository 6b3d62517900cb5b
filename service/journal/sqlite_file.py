"""The file of a SQLite journal: created, recognised, owned by one process, and its troubles put in words."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.errors import JournalDamaged, JournalUnavailable

APPLICATION_ID = 0x556E726F
"""Marks the file as one of ours ("Unro"), in the place that SQLite keeps for it."""
SCHEMA_VERSION = 2
_READABLE_VERSIONS = (1, 2)
"""In the first, the rows of the log had another format, which is still read."""
NEEDED_SQLITE = (3, 38, 0)
BUSY_SECONDS = 5.0

_SCHEMA = f"""
BEGIN EXCLUSIVE;
CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL,
    position INTEGER NOT NULL,
    expires REAL NOT NULL,
    due REAL NOT NULL,  -- when a sweep is to look at the session: never later than it expires
    value BLOB          -- the entry as service.journal.stored packs it; NULL once the session has expired
);
CREATE INDEX sessions_due ON sessions (due);
CREATE TABLE recent (row INTEGER PRIMARY KEY, items BLOB NOT NULL);  -- commits that are not in sessions yet
CREATE TABLE facts (name TEXT PRIMARY KEY, value BLOB NOT NULL);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""


class JournalError(ValueError):
    """A journal that the service cannot start on: says which, what is wrong with it, and what to do."""


class JournalHeld(JournalError):
    """Another process holds the file, which may soon be over."""


@contextmanager
def owned(path: Path, patience_s: float) -> Iterator[None]:
    """Hold the file for this process alone, through a lock on a file beside it that ends with the process.

    SQLite itself would let two processes write by turns; each would keep rows in memory that the other has moved on.

    Raises:
        JournalHeld: another process holds it still after `patience_s` seconds.
        JournalError: the folder cannot be written.
    """
    if not path.parent.is_dir():
        raise JournalError(f"journal {path}: there is no folder {path.parent}: create it, or name another file")
    lock = path.with_name(path.name + ".lock")
    try:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise JournalError(f"journal {path}: {lock.name} cannot be written beside it: {error.strerror}") from error
    try:
        _wait_for_lock(handle, path, patience_s)
        yield
    finally:
        os.close(handle)


def _wait_for_lock(handle: int, path: Path, patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise JournalHeld(
                    f"journal {path}: another process holds it: stop that one, or use valkey:// to share a journal"
                ) from None
        time.sleep(0.05)


def connect(path: Path, *, writes: bool) -> sqlite3.Connection:
    """A connection in which each statement is a transaction of its own, unless one is begun."""
    address = path.absolute().as_uri() + ("?mode=rw" if writes else "?mode=ro")
    connection = sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    # Checkpoints are made by the writer, when nobody waits.
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    return connection


def open_for_writing(path: Path) -> sqlite3.Connection:
    """The connection that writes, to a file that is ours, whole as far as a glance can tell, and writable.

    The file is made if there is none. One that is not ours, or of another schema, is left as it is.

    Raises:
        JournalError: it cannot be used; says why.
    """
    if sqlite3.sqlite_version_info < NEEDED_SQLITE:
        needed = ".".join(map(str, NEEDED_SQLITE))
        raise JournalError(f"journal {path}: SQLite {needed} or newer is needed, got {sqlite3.sqlite_version}")
    try:
        # Nobody else may read what clients sent; the files that SQLite puts beside it get the same rights.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise JournalError(f"journal {path}: it cannot be opened for writing: {error.strerror}") from error
    connection = connect(path, writes=True)
    try:
        _recognise(connection, path)
        _prepare(connection)
    except sqlite3.Error as error:
        connection.close()
        raise JournalError(f"journal {path}: {in_words(error)}") from error
    except JournalError:
        connection.close()
        raise
    return connection


def _recognise(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables in a new file, and refuse one that is not a journal of this schema."""
    if _is_empty(connection):
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(_SCHEMA)
    require_ours(connection, path)


def _is_empty(connection: sqlite3.Connection) -> bool:
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    return tables == 0 and _number(connection, "application_id") == 0 and _number(connection, "user_version") == 0


def require_ours(connection: sqlite3.Connection, path: Path) -> None:
    """Raises JournalError where the file is another application's, or of another schema version."""
    if _number(connection, "application_id") != APPLICATION_ID:
        raise JournalError(f"journal {path}: this is another application's database: name another file")
    version = _number(connection, "user_version")
    if version not in _READABLE_VERSIONS:
        raise JournalError(
            f"journal {path}: expected schema version {SCHEMA_VERSION}, got {version}: "
            "use the release that wrote it, or name another file"
        )


def _prepare(connection: sqlite3.Connection) -> None:
    """What every commit relies on, and one write to see that it goes through to the disk."""
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise JournalError(f"the file system allows no write-ahead log (journal mode {mode}): use a local disk")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA fullfsync = ON")  # macOS; elsewhere it changes nothing
    connection.execute("PRAGMA cache_size = -16000")  # KiB
    if _number(connection, "user_version") != SCHEMA_VERSION:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    touch(connection)


def touch(connection: sqlite3.Connection) -> None:
    """Write to the disk about as much as a commit does, to see whether that can be done."""
    connection.execute("INSERT OR REPLACE INTO facts VALUES ('touched', zeroblob(65536))")
    connection.execute("UPDATE facts SET value = ? WHERE name = 'touched'", (time.time(),))


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])


_CODE_BITS = 0xFF
_WORDS = {
    sqlite3.SQLITE_FULL: "the disk is full: make room, and it goes on by itself",
    sqlite3.SQLITE_READONLY: "the file or its volume is read-only: mount it for writing",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened",
    sqlite3.SQLITE_PERM: "the process may not write it",
    sqlite3.SQLITE_BUSY: "another process is using it",
    sqlite3.SQLITE_IOERR: "reading or writing failed: look at the disk and its free space",
    sqlite3.SQLITE_CORRUPT: "the file is damaged: look at it with `python -m service journal check`",
    sqlite3.SQLITE_NOTADB: "this is no SQLite database: name another file",
}
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def in_words(error: sqlite3.Error) -> str:
    """What went wrong, for an operator."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    name: str = getattr(error, "sqlite_errorname", "") or str(error)
    return f"{_WORDS.get(code & _CODE_BITS, 'it cannot be used')} ({name})"


def as_ours(error: sqlite3.Error, path: Path) -> JournalDamaged | JournalUnavailable:
    """The error of ours that tells it."""
    kind: int = getattr(error, "sqlite_errorcode", 0) & _CODE_BITS
    message = f"journal {path.name}: {in_words(error)}"
    return JournalDamaged(message) if kind in _DAMAGE else JournalUnavailable(message, retry_after_s=5.0)
