"""The table of sessions in a SQLite journal: one row each, read and written many at a time by one statement.

A statement gives the interpreter's lock away once, and where an event loop is busy it takes its time to give it back;
so sessions are handed to a statement together, as JSON, and their values as one blob.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from service.journal import Entry
from service.journal.codec import Records
from service.journal.log_row import is_removal
from service.journal.recent import Change
from service.journal.stored import pack_entry

REMEMBERED_SECONDS = 7 * 86400.0
"""How long an expired session is told from one that never was."""
NEVER = 1e300
"""What stands in a column for a time that never comes: JSON knows no infinity."""
_SWEPT_AT_ONCE = 200
_IN_USE_SECONDS = 30.0

_WRITE = """
INSERT INTO sessions (id, epoch, position, expires, due, value)
SELECT e.value ->> 0, e.value ->> 1, e.value ->> 2, e.value ->> 3, e.value ->> 3,
       substr(?1, e.value ->> 4, e.value ->> 5)
FROM json_each(?2) AS e WHERE true
ON CONFLICT (id) DO UPDATE SET epoch = excluded.epoch, position = excluded.position, expires = excluded.expires,
                               value = excluded.value
"""
_IDS = "(SELECT value FROM json_each(?))"


class Head(NamedTuple):
    """Where a session stands in the table."""

    epoch: int
    position: int
    expires: float


def heads(connection: sqlite3.Connection, session_ids: Collection[str]) -> dict[str, Head]:
    """Where the sessions stand; nothing for those that there are none of."""
    if not session_ids:
        return {}
    found = connection.execute(
        f"SELECT id, epoch, position, expires FROM sessions WHERE id IN {_IDS}", (json.dumps(list(session_ids)),)
    )
    return {session_id: Head(*head) for session_id, *head in found}


def value(connection: sqlite3.Connection, session_id: str) -> tuple[Head, bytes | None] | None:
    """A session with its stored entry, which is None once it has expired; None if there is no such session."""
    found = connection.execute(
        "SELECT epoch, position, expires, value FROM sessions WHERE id = ?", (session_id,)
    ).fetchone()
    return None if found is None else (Head(*found[:3]), found[3])


def living(connection: sqlite3.Connection, after: str) -> Iterator[tuple[str, Head]]:
    """The sessions after that id which have not been swept, in the order of their ids."""
    rows = connection.execute(
        "SELECT id, epoch, position, expires FROM sessions WHERE id > ? AND value IS NOT NULL ORDER BY id", (after,)
    )
    return ((session_id, Head(*head)) for session_id, *head in rows)


def write(connection: sqlite3.Connection, changes: Sequence[Change], records: Records[Any]) -> int:
    """Bring sessions up to their last entry; the bytes that were written.

    When a sweep is to look at a session (`due`) is set when it is first written, and left alone until then: an index
    stands on it, which would otherwise be rewritten with every step.
    """
    _remove(connection, [change.entry.session_id for change in changes if change.replaces])
    told, values, start = [], [], 1
    for entry, _ in changes:
        if not is_removal(entry):
            value = pack_entry(entry, records)
            told.append((entry.session_id, entry.epoch, entry.position, min(entry.expires, NEVER), start, len(value)))
            values.append(value)
            start += len(value)
    connection.execute(_WRITE, (b"".join(values), json.dumps(told)))
    return start


def folded_to(connection: sqlite3.Connection) -> int:
    """The number of the last commit that the table has; 0 at first."""
    found = connection.execute("SELECT value FROM facts WHERE name = 'folded'").fetchone()
    return 0 if found is None else int(found[0])


def note_folded(connection: sqlite3.Connection, number: int) -> None:
    """Write down that the table has all commits up to that one."""
    connection.execute("INSERT OR REPLACE INTO facts VALUES ('folded', ?)", (number,))


def sweep(connection: sqlite3.Connection, now: float, recent: Callable[[str], Entry | None]) -> list[str]:
    """Forget some of what has expired, and return the ids of those that have expired just now.

    First a session's value goes, and its id and position stay to be told; after a while those go, too.

    Args:
        recent: a session's entry that the table does not have yet, or its removal.
    """
    found = connection.execute(
        "SELECT id, expires, value IS NULL FROM sessions WHERE due <= ? ORDER BY due LIMIT ?", (now, _SWEPT_AT_ONCE)
    ).fetchall()
    over: list[str] = []
    gone: list[str] = []
    later: list[tuple[str, float]] = []
    for session_id, expires, is_told in found:
        entry = recent(session_id)
        if entry is not None:
            # The fold that is to come writes all but `due`.
            later.append((session_id, max(now + _IN_USE_SECONDS, 0.0 if is_removal(entry) else entry.expires)))
        elif expires > now:
            later.append((session_id, expires))
        else:
            (gone if is_told else over).append(session_id)
    _remove(connection, gone)
    connection.execute(
        f"UPDATE sessions SET value = NULL, due = ? WHERE id IN {_IDS}", (now + REMEMBERED_SECONDS, json.dumps(over))
    )
    connection.execute(
        "UPDATE sessions SET due = e.value ->> 1 FROM json_each(?) AS e WHERE sessions.id = e.value ->> 0",
        (json.dumps([(session_id, min(due, NEVER)) for session_id, due in later]),),
    )
    return over


def _remove(connection: sqlite3.Connection, session_ids: Sequence[str]) -> None:
    if session_ids:
        connection.execute(f"DELETE FROM sessions WHERE id IN {_IDS}", (json.dumps(session_ids),))


@contextmanager
def one_transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, on the disk no later than the next commit; for what need not be there by itself."""
    connection.execute("PRAGMA synchronous = NORMAL")
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        connection.execute("PRAGMA synchronous = FULL")
