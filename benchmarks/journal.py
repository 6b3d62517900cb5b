"""How fast are commits, by how many sessions are in one, and what does it matter how a row is written?

Each way commits the same steps of a thousand sessions (rows of a 2-layer LSTM-128), in turns of a fraction of a second,
so that all meet the same minutes of the disk:

- *floor*: one write and one synchronisation of as many bytes, in a plain file.
- *sqlite*: the journal. A commit is one row of the log, which is folded into the table of sessions when idle.
- *table*: no log; rows are written over each other in the table of sessions.
- *inputs*: the journal again, given 15 times out of 16 a row's inputs in place of the row; a restart would run them.
- *valkey*: the journal on a local server that synchronises every commit (`always`) or every second (`everysec`).
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.free_port import free_port
from benchmarks.table import print_table
from service.journal import NOWHERE, Entry, Journal, clock, sqlite_table
from service.journal.codec import Records
from service.journal.location import open_journal
from service.journal.recent import Change
from service.journal.sqlite import SqliteJournal
from service.journal.sqlite_file import open_for_writing
from service.journal.stored import pack_entry

SESSIONS = 1000
ROW_BYTES = 2 * 2 * 128 * 4 + 16 * 4
INPUT_BYTES = 8 * 4
WHOLE_ROW_EVERY = 16
SIZES = (1, 16, 64, 256)
TURN_SECONDS = 0.25
EPOCH = 7
RECORD = {"model": "lstm-128/1", "seed": 1, "first_timestamp": None, "text_pending": b"", "last": None}
RECORDS: Records[Any] = Records()

Commit = Callable[[Sequence[Entry]], None]


@dataclass
class Way:
    """One way to write, and what was measured of it."""

    name: str
    commit: Commit
    row_bytes: int = ROW_BYTES
    positions: dict[str, int] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    processor_s: float = 0.0
    rows: int = 0

    def turn(self, size: int) -> None:
        """Commit steps of `size` sessions at a time for a moment."""
        chance, row = random.Random(size), os.urandom(ROW_BYTES)
        names = list(self.positions)
        until = time.perf_counter() + TURN_SECONDS
        while time.perf_counter() < until:
            entries = [self._next(name, row) for name in chance.sample(names, size)]
            before, used = time.perf_counter(), _processor_s()
            self.commit(entries)
            self.processor_s += _processor_s() - used
            self.seconds.append(time.perf_counter() - before)
            self.rows += size

    def _next(self, name: str, row: bytes) -> Entry:
        position = self.positions[name]
        self.positions[name] = position + 1
        whole = self.row_bytes == ROW_BYTES or position % WHOLE_ROW_EVERY == 0
        content = row if whole else row[: self.row_bytes]
        return Entry(name, position + 1, content, RECORD, EPOCH, position, clock.now() + 86400)


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks journal", description=__doc__)
    parser.add_argument("--turns", type=int, default=12)
    parser.add_argument("--folder", type=Path, help="where the files are to lie; a temporary folder if left out")
    chosen = parser.parse_args(arguments)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=chosen.folder)))
        rows = [row for size in SIZES for row in _measured(folder, size, chosen.turns)]
    print_table(
        "Commits", ("sessions in a commit", "way", "rows/s", "median ms", "99 % ms", "µs of processor a row"), rows
    )


def _measured(folder: Path, size: int, turns: int) -> Iterator[tuple[str, ...]]:
    with ExitStack() as stack:
        ways = list(_ways(stack, Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder)))))
        for _ in range(turns):
            for way in ways:
                way.turn(size)
        for way in ways:
            ordered = sorted(way.seconds)
            yield (
                str(size),
                way.name,
                f"{way.rows / sum(ordered):,.0f}",
                f"{1000 * statistics.median(ordered):.2f}",
                f"{1000 * ordered[int(0.99 * len(ordered))]:.2f}",
                f"{1e6 * way.processor_s / way.rows:.1f}",
            )


def _ways(stack: ExitStack, folder: Path) -> Iterator[Way]:
    yield _opened(Way("floor", _floor(stack, folder / "floor")))
    for name, row_bytes in (("sqlite", ROW_BYTES), ("inputs", INPUT_BYTES)):
        journal = SqliteJournal(folder / f"{name}.db", RECORDS)
        stack.callback(journal.close)
        yield _opened(Way(name, _through(journal), row_bytes))
    yield _opened(Way("table", _table(stack, folder / "table.db")))
    program = shutil.which("valkey-server") or shutil.which("redis-server")
    if program is None:
        print("journal goes on without a Valkey or Redis server: none is installed", file=sys.stderr)
        return
    for policy in ("always", "everysec"):
        port = stack.enter_context(_server(program, folder / policy, policy))
        valkey = open_journal(f"valkey://127.0.0.1:{port}/0?timeout_ms=20000", RECORDS)
        stack.callback(valkey.close)
        yield _opened(Way(f"valkey {policy}", _through(valkey)))


def _opened(way: Way) -> Way:
    names = [f"session-{number:06d}" for number in range(SESSIONS)]
    for start in range(0, SESSIONS, 250):
        opening = [
            Entry(name, 0, bytes(ROW_BYTES), RECORD, EPOCH, NOWHERE, clock.now() + 86400)
            for name in names[start : start + 250]
        ]
        way.commit(opening)
    way.positions = dict.fromkeys(names, 0)
    return way


def _through(journal: Journal) -> Commit:
    def commit(entries: Sequence[Entry]) -> None:
        assert not journal.commit(entries)
        journal.tend()

    return commit


def _floor(stack: ExitStack, path: Path) -> Commit:
    file = stack.enter_context(path.open("wb", buffering=0))

    def commit(entries: Sequence[Entry]) -> None:
        # Over the same bytes again and again, as a write-ahead log is.
        if file.tell() > 16 * 2**20:
            file.seek(0)
        file.write(b"".join(pack_entry(entry, RECORDS) for entry in entries))
        os.fdatasync(file.fileno())

    return commit


def _table(stack: ExitStack, path: Path) -> Commit:
    connection = open_for_writing(path)
    stack.callback(connection.close)
    written = 0

    def commit(entries: Sequence[Entry]) -> None:
        nonlocal written
        heads = sqlite_table.heads(connection, [entry.session_id for entry in entries])
        for entry in entries:
            assert entry.previous == NOWHERE or heads[entry.session_id].position == entry.previous
        changes = [Change(entry, replaces=False) for entry in entries]
        written += 2 * sqlite_table.write(connection, changes, RECORDS)
        if written > 16 * 2**20:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            written = 0

    return commit


@contextmanager
def _server(program: str, folder: Path, policy: str) -> Iterator[int]:
    folder.mkdir()
    port = free_port()
    options = ["--port", str(port), "--dir", str(folder), "--save", "", "--appendonly", "yes", "--appendfsync", policy]
    process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        yield port
    finally:
        process.kill()
        process.wait()


def _processor_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
