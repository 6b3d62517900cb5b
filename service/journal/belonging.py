"""Whether the write-ahead log beside a journal's file is that file's own.

SQLite applies whatever lies there, and so would spoil a copy that was put in the file's place. Each opening for writing
is given a name, which is written into the file and into the lock beside it. What a copy holds is another name or none.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from service.journal.sqlite_file import JournalError

_NAME_BYTES = 16
_NAMES_KEPT = 3


def belongs(path: Path) -> bool:
    """Whether the log beside the file, if there is any, may be its own. To be asked before SQLite opens the file."""
    log = path.with_name(path.name + "-wal")
    names = _names_in(_lock_of(path))
    if not names or not log.exists() or not log.stat().st_size:
        return True
    # As it lies there, without its log.
    address = path.absolute().as_uri() + "?mode=ro&immutable=1"
    with suppress(sqlite3.Error), closing(sqlite3.connect(address, uri=True)) as connection:
        found = connection.execute("SELECT value FROM facts WHERE name = 'opening'").fetchone()
        return found is not None and bytes(found[0]) in names
    return True  # whatever is wrong with the file is said when it is opened


def require_own_log(path: Path) -> None:
    """Raises JournalError where the log beside the file is another file's."""
    if not belongs(path):
        raise JournalError(
            f"journal {path}: the write-ahead log {path.name}-wal beside it is another file's, as it is after a copy "
            "was put in its place: move that log and the -shm file away, or put the copy back with `python -m service "
            f"journal restore COPY {path}`"
        )


def note_opening(connection: sqlite3.Connection, path: Path) -> None:
    """Give this opening a name, in the file itself and in the lock."""
    lock, name = _lock_of(path), secrets.token_bytes(_NAME_BYTES)
    # Whenever the process ends meanwhile, one of the names in the lock is the file's.
    _write(lock, b"".join((*_names_in(lock)[-_NAMES_KEPT:], name)))
    connection.execute("INSERT OR REPLACE INTO facts VALUES ('opening', ?)", (name,))
    _, pages, copied = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    if pages == copied:
        _write(lock, name)


def forget_opening(path: Path) -> None:
    """Let the next opening take the file as it is; for whoever holds the lock."""
    _write(_lock_of(path), b"")


def of_nobody(connection: sqlite3.Connection) -> None:
    """Let a copy be known as one."""
    connection.execute("DELETE FROM facts WHERE name = 'opening'")


def _lock_of(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def _names_in(lock: Path) -> list[bytes]:
    content = lock.read_bytes() if lock.exists() else b""
    return [content[at : at + _NAME_BYTES] for at in range(0, len(content), _NAME_BYTES)]


def _write(lock: Path, content: bytes) -> None:
    handle = os.open(lock, os.O_WRONLY)
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, content, 0)
        os.fsync(handle)
    finally:
        os.close(handle)
