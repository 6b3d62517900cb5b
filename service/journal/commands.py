"""`python -m service journal …`: look at a SQLite journal, make it smaller, copy it, or take out what it holds.

`check`, `copy` and `export` only read, and may be used while a service runs on the file; `compact` wants it alone.
"""

from __future__ import annotations

import argparse
import base64
import json
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from service.errors import JournalDamaged
from service.journal import clock
from service.journal.codec import CodecError, Records
from service.journal.recent import Change, decode_items
from service.journal.sqlite import SqliteJournal
from service.journal.sqlite_file import JournalError, connect, in_words, owned, require_ours
from service.journal.stored import unpack

_ANY: Records[Any] = Records(Any)


def main(arguments: Sequence[str]) -> int:
    """Carry out one command; 0 if all is well, 1 if the file is damaged, 2 if nothing could be done."""
    parser = argparse.ArgumentParser(prog="python -m service journal", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, help_text in (
        ("check", "read everything and say what is there and whether it is whole"),
        ("compact", "give the disk back what is not used; no service may be running on the file"),
        ("copy", "make a copy for safe keeping, whole also while a service writes"),
        ("export", "write every session that lives as one line of JSON"),
    ):
        command = commands.add_parser(name, help=help_text, allow_abbrev=False)
        command.add_argument("file", type=Path)
        if name == "copy":
            command.add_argument("to", type=Path)
    given = parser.parse_args(arguments)
    try:
        if not given.file.is_file():
            raise JournalError(f"journal {given.file}: there is no such file")
        return _carry_out(given)
    except OSError as error:
        print(f"journal: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except (JournalError, JournalDamaged) as error:
        print(error, file=sys.stderr)
        return 2
    except sqlite3.Error as error:
        print(f"journal {given.file}: {in_words(error)}", file=sys.stderr)
        return 2


def _carry_out(given: argparse.Namespace) -> int:
    if given.command == "check":
        return check(given.file, sys.stdout)
    if given.command == "compact":
        before, after = compact(given.file)
        print(f"{given.file}: {before:,} bytes before, {after:,} after")
    elif given.command == "copy":
        copy(given.file, given.to)
        print(f"{given.to}: {given.to.stat().st_size:,} bytes")
    else:
        export(given.file, sys.stdout)
    return 0


def check(path: Path, out: TextIO) -> int:
    """Read the whole file; write down what is there and what is wrong. Returns 1 if anything is, else 0."""
    wrong: list[str] = []
    counts: Counter[str] = Counter()
    with closing(_opened(path)) as connection:
        wrong += [text for (text,) in connection.execute("PRAGMA integrity_check(20)") if text != "ok"]
        for session_id, expires, data in _sessions(connection, wrong):
            counts["expired" if data is None or expires <= clock.now() else "living"] += 1
            if data is not None:
                counts["bytes"] += len(data)
                _examine(session_id, data, wrong)
        waiting = connection.execute("SELECT count(*) FROM recent").fetchone()[0]
        free = connection.execute("PRAGMA freelist_count").fetchone()[0]
        page = connection.execute("PRAGMA page_size").fetchone()[0]
    print(f"{path}: {path.stat().st_size:,} bytes, {free * page:,} of them not used", file=out)
    print(f"sessions: {counts['living']:,} living, {counts['expired']:,} expired, {counts['bytes']:,} bytes", file=out)
    print(f"log: {waiting:,} commits that are not in the table yet", file=out)
    for problem in wrong:
        print(f"DAMAGED: {problem}", file=out)
    print("not whole: nothing was changed; the last good copy is the way back" if wrong else "whole", file=out)
    return 1 if wrong else 0


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
        with closing(sqlite3.connect(to)) as target:
            source.backup(target)


def export(path: Path, out: TextIO) -> None:
    """Every session that lives, one JSON object a line: id, epoch, position, expires, row (base64) and record."""
    wrong: list[str] = []
    with closing(_opened(path)) as connection:
        for session_id, expires, data in _sessions(connection, wrong):
            if data is not None and expires > clock.now():
                stored = unpack(data, session_id)
                told = {
                    "id": session_id,
                    "epoch": stored.epoch,
                    "position": stored.position,
                    "expires": expires,
                    "row": base64.b64encode(stored.row).decode(),
                    "record": _plain(_ANY.decode(stored.record)),
                }
                print(json.dumps(told), file=out)
    if wrong:
        raise JournalDamaged(wrong[0])


def _opened(path: Path) -> sqlite3.Connection:
    """A connection that only reads, in which everything is as of one moment."""
    connection = connect(path, writes=False)
    try:
        connection.execute("BEGIN")
        require_ours(connection, path)
    except (sqlite3.Error, JournalError):
        connection.close()
        raise
    return connection


def _sessions(connection: sqlite3.Connection, wrong: list[str]) -> Iterator[tuple[str, float, bytes | None]]:
    """Every session with its expiry and stored entry, None once it has expired; what cannot be read goes to `wrong`."""
    recent: dict[str, Change] = {}
    for (content,) in connection.execute("SELECT items FROM recent ORDER BY row"):
        try:
            recent.update(decode_items(content))
        except JournalDamaged as error:
            wrong.append(error.message)
    for session_id, expires, data in connection.execute("SELECT id, expires, value FROM sessions ORDER BY id"):
        if session_id not in recent:
            yield session_id, expires, data
    for session_id, change in recent.items():
        if change.head is not None:
            yield session_id, change.head.expires, change.data


def _examine(session_id: str, data: bytes, wrong: list[str]) -> None:
    try:
        _ANY.decode(unpack(data, session_id).record)
    except JournalDamaged as error:
        wrong.append(error.message)
    except CodecError as error:
        wrong.append(f"session {session_id}: {error}")


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
