"""Rows of the log: written over each other, read back whole or not at all, and those of the format before."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec
import numpy as np
import pytest

from service.errors import JournalDamaged
from service.journal import Entry
from service.journal.log_row import LogRow, is_removal, read_row, removal, room_for, write_row
from service.journal.sqlite import SqliteJournal
from service.journal.sqlite_file import JournalError
from service.journal.stored import pack_entry
from tests.service.journal.entries import EPOCH, RECORDS, Remembered, opening, step
from tests.service.journal.killing import abandon


def opened(path: Path, log_bytes: int = 20_000) -> SqliteJournal:
    return SqliteJournal(path, RECORDS, log_bytes=log_bytes, patience_s=0)


def test_a_row_comes_back_with_its_number() -> None:
    record = Remembered("m/1", np.datetime64("2024-07-01T05", "h"), {"pit": np.array([0.5], np.float32)})
    entries = [opening("a", b"x" * 9000), removal("b"), Entry("c", 7, b"", record, EPOCH, 6)]
    number, found = read_row(3, bytes(write_row(41, entries, RECORDS)), RECORDS)
    assert number == 41 and found[:2] == entries[:2] and is_removal(found[1])
    assert found[2].record.started == record.started and found[2].record.outputs["pit"].tolist() == [0.5]


def test_every_flipped_bit_of_a_row_is_noticed() -> None:
    row = bytes(write_row(1, [step("a", 1, b"x" * 6000)], RECORDS))
    for at in (*range(4, 200), *range(200, len(row.rstrip(b"\0")), 131)):
        for bit in (1, 16, 128):
            changed = bytearray(row)
            changed[at] ^= bit
            with pytest.raises(JournalDamaged):
                read_row(1, bytes(changed), RECORDS)


def test_rows_have_few_lengths_and_little_to_spare() -> None:
    lengths = {room_for(length) for length in range(1, 300_000)}
    assert len(lengths) < 32 and all(length % 4096 == 0 for length in lengths)
    assert all(length <= room_for(length) < length * 1.25 + 4096 for length in range(1, 300_000, 37))


def test_rows_of_the_past_are_written_over(tmp_path: Path) -> None:
    journal = opened(tmp_path / "sessions.db")
    journal.commit([opening("a")])
    for position in range(1, 200):
        journal.commit([step("a", position, b"x" * 3000)])
        journal.tend()
    with sqlite3.connect(f"file:{tmp_path}/sessions.db?mode=ro", uri=True) as outside:
        assert outside.execute("SELECT count(*) FROM recent").fetchone()[0] < 30
    outside.close()
    abandon(journal)
    again = opened(tmp_path / "sessions.db")
    assert (found := again.load("a")) and found.position == 199
    assert not again.commit([step("a", 200)])
    again.close()


def test_a_commit_that_is_missing_between_others_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    journal = opened(path, log_bytes=10**6)
    journal.commit([opening("a")])
    for position in range(1, 5):
        journal.commit([step("a", position)])
    abandon(journal)
    with sqlite3.connect(path) as outside:
        outside.execute("DELETE FROM recent WHERE row = 3")
    outside.close()
    with pytest.raises(JournalError, match="the log of recent commits is not whole: 4 commits from 1 to 5"):
        opened(path)


def test_what_the_release_before_left_in_its_log_is_taken_up(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    opened(path).close()
    rows: list[list[Entry]] = [[opening("a"), opening("b")], [step("a", 1)], [removal("b"), opening("c")]]
    with sqlite3.connect(path) as before:
        for place, entries in enumerate(rows, start=7):
            items = [(one.session_id, b"" if is_removal(one) else pack_entry(one, RECORDS)) for one in entries]
            before.execute("INSERT INTO recent VALUES (?, ?)", (place, msgspec.msgpack.encode(items)))
        before.execute("PRAGMA user_version = 1")
    before.close()
    journal = opened(path)
    found = {name: journal.load(name) for name in "abc"}
    assert found["b"] is None and found["c"] is not None
    assert found["a"] is not None and (found["a"].position, found["a"].row) == (1, b"row 1")
    assert not journal.commit([step("a", 2)])
    for _ in range(5):
        journal.tend()
    abandon(journal)
    again = opened(path)
    assert (later := again.load("a")) and later.position == 2
    again.close()


def test_a_row_without_an_end_is_refused() -> None:
    with pytest.raises(JournalDamaged, match="cut short"):
        read_row(1, b"URL2", RECORDS)
    assert read_row(9, msgspec.msgpack.encode([]), RECORDS) == LogRow(9, [])
