"""A SQLite journal's file without a service on it: looked at, made smaller, copied, put back, taken out.

What only reads may be used while a service runs on the file; it sees everything as of one moment.
"""

from __future__ import annotations

import base64
import json
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from service.errors import JournalDamaged
from service.journal import Entry, clock
from service.journal.belonging import forget_opening, of_nobody, require_own_log
from service.journal.codec import Records
from service.journal.log_row import LogRow, is_removal, read_row
from service.journal.sqlite import SqliteJournal
from service.journal.sqlite_file import JournalError, connect, owned, require_ours
from service.journal.sqlite_log import require_no_gap
from service.journal.sqlite_table import folded_to
from service.journal.stored import unpack_entry

_ANY: Records[Any] = Records(Any)


def check(path: Path, out: TextIO) -> int:
    """Read the whole file; write down what is there and what is wrong. Returns 1 if anything is, else 0."""
    counts: Counter[str] = Counter()
    with closing(_opened(path)) as connection:
        wrong = _problems(connection, counts)
        pages, free, size = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
    print(f"{path}: {pages * size:,} bytes, {free * size:,} of them not used", file=out)
    if (ahead := _beside(path, "-wal")).exists():
        print(f"{ahead}: {ahead.stat().st_size:,} bytes that belong to it", file=out)
    print(f"sessions: {counts['living']:,} living, {counts['expired']:,} expired, {counts['bytes']:,} bytes", file=out)
    print(f"log: {counts['commits']:,} commits that are not in the table yet", file=out)
    for problem in wrong:
        print(f"DAMAGED: {problem}", file=out)
    print("not whole: nothing was changed; the last good copy is the way back" if wrong else "whole", file=out)
    return 1 if wrong else 0


def _problems(connection: sqlite3.Connection, counts: Counter[str] | None = None) -> list[str]:
    """What is wrong with a file, of which everything is read; what there is is counted."""
    counts = Counter() if counts is None else counts
    wrong = [text for (text,) in connection.execute("PRAGMA integrity_check(20)") if text != "ok"]
    pending = _pending(connection, wrong)
    counts["commits"] = len(pending)
    for entry, size in _sessions(connection, pending, wrong):
        counts["living" if entry is not None and entry.expires > clock.now() else "expired"] += 1
        counts["bytes"] += size
    return wrong


def compact(path: Path) -> tuple[int, int]:
    """Fold the log, drop what has expired and is not told any more, and rewrite the file without gaps.

    Returns:
        its bytes before and after.

    Raises:
        JournalError: it is not a journal, or a service is running on it.
    """
    before = path.stat().st_size
    journal = SqliteJournal(path, _ANY, patience_s=0)
    while journal.sweep():
        pass
    journal.close()
    with owned(path, patience_s=0), closing(connect(path, writes=True)) as connection:
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return before, path.stat().st_size


def copy(path: Path, to: Path) -> None:
    """A copy as of one moment, with the log.

    Raises:
        JournalError: it is not a journal, or there is a file by the other name already.
    """
    if to.exists():
        raise JournalError(f"{to}: there is a file by that name already: name another")
    with closing(_opened(path)) as source:
        to.touch(mode=0o600)
        with closing(sqlite3.connect(to, isolation_level=None)) as target:
            source.backup(target)
            of_nobody(target)
    _synchronise(to)


def restore(path: Path, to: Path) -> Path | None:
    """Put a copy in the place of a file. What is there is kept under another name, which is returned.

    Raises:
        JournalError: the copy is not whole, or a service is running on the file.
    """
    wrong: list[str] = []
    with closing(_opened(path)) as connection:
        wrong += _problems(connection)
    if wrong:
        raise JournalError(f"journal {path}: it is not whole, and nothing was changed: {wrong[0]}")
    with owned(to, patience_s=0):
        beside = to.with_name(f"{to.name}.restoring")
        beside.unlink(missing_ok=True)
        copy(path, beside)
        kept = None
        if to.exists():
            kept = to.with_name(f"{to.name}.{time.strftime('%Y%m%dT%H%M%S')}")
            for ending in ("-wal", "-shm", ""):
                if (old := _beside(to, ending)).exists():
                    old.rename(_beside(kept, ending))
        # One without its file would be taken for the copy's.
        for ending in ("-wal", "-shm"):
            _beside(to, ending).unlink(missing_ok=True)
        forget_opening(to)
        beside.rename(to)
        _synchronise(to)
    return kept


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _synchronise(path: Path) -> None:
    """See to it that a file and its name are on the disk."""
    for place in (path, path.parent):
        handle = os.open(place, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def export(path: Path, out: TextIO) -> None:
    """Every session that lives, one JSON object a line: id, epoch, position, expires, row (base64) and record."""
    wrong: list[str] = []
    with closing(_opened(path)) as connection:
        for entry, _ in _sessions(connection, _pending(connection, wrong), wrong):
            if entry is not None and entry.expires > clock.now():
                told = {
                    "id": entry.session_id,
                    "epoch": entry.epoch,
                    "position": entry.position,
                    "expires": entry.expires,
                    "row": base64.b64encode(entry.row).decode(),
                    "record": _plain(entry.record),
                }
                print(json.dumps(told), file=out)
    if wrong:
        raise JournalDamaged(wrong[0])


def _opened(path: Path) -> sqlite3.Connection:
    """A connection that only reads, in which everything is as of one moment."""
    require_own_log(path)
    connection = connect(path, writes=False)
    try:
        connection.execute("BEGIN")
        require_ours(connection, path)
    except (sqlite3.Error, JournalError):
        connection.close()
        raise
    return connection


def _pending(connection: sqlite3.Connection, wrong: list[str]) -> list[LogRow]:
    """The commits that the table does not have yet, in their order; what cannot be read goes to `wrong`."""
    folded = folded_to(connection)
    rows: list[LogRow] = []
    for place, items in connection.execute("SELECT row, items FROM recent"):
        try:
            rows.append(read_row(place, items, _ANY))
        except JournalDamaged as error:
            wrong.append(error.message)
    pending = sorted((row for row in rows if row.number > folded), key=lambda row: row.number)
    try:
        require_no_gap([row.number for row in pending], folded)
    except JournalDamaged as error:
        wrong.append(error.message)
    return pending


def _sessions(
    connection: sqlite3.Connection, pending: Sequence[LogRow], wrong: list[str]
) -> Iterator[tuple[Entry | None, int]]:
    """Every session, None for one that has expired, with the bytes it takes; what cannot be read goes to `wrong`."""
    recent = {entry.session_id: entry for row in pending for entry in row.entries}
    for session_id, data in connection.execute("SELECT id, value FROM sessions ORDER BY id"):
        if session_id in recent:
            continue
        if data is None:
            yield None, 0
            continue
        try:
            yield unpack_entry(data, _ANY, session_id), len(data)
        except JournalDamaged as error:
            wrong.append(error.message)
    for entry in recent.values():
        if not is_removal(entry):
            yield entry, len(entry.row)


def _plain(value: Any) -> Any:
    """A record's value as JSON can say it; arrays by type, shape and base64."""
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, np.ndarray):
        return {"dtype": value.dtype.str, "shape": value.shape, "base64": base64.b64encode(value.tobytes()).decode()}
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value) if isinstance(value, np.generic) else value
