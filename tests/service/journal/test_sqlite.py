"""The journal in a file: what it keeps over restarts, kills and folds."""

from __future__ import annotations

import sqlite3
import stat
import time
from pathlib import Path

import pytest

from service.errors import JournalDamaged
from service.journal import Entry, Journal, clock
from service.journal.sqlite import SqliteJournal
from service.journal.sqlite_file import JournalError
from tests.service.journal.entries import EPOCH, RECORDS, Remembered, opening, step
from tests.service.journal.killing import abandon, require_nothing_lost


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


def opened(path: Path, log_bytes: int = 4096) -> SqliteJournal:
    """A journal that folds its log often."""
    return SqliteJournal(path, RECORDS, log_bytes=log_bytes, patience_s=0)


def positions(journal: Journal, names: str) -> list[int | None]:
    return [found.position if (found := journal.load(name)) else None for name in names]


def test_it_promises_to_outlive_the_process(path: Path) -> None:
    journal = opened(path)
    assert journal.durable and not journal.shared and journal.trouble is None
    journal.close()


def test_sessions_are_there_after_a_restart(path: Path) -> None:
    first = opened(path)
    first.commit([opening("a"), opening("b"), opening("c")])
    first.commit([step("a", 1)])
    first.remove(["b"])
    first.close()
    second = opened(path)
    assert positions(second, "abc") == [1, None, 0]
    assert not second.commit([step("a", 2)])
    second.close()


def test_sessions_are_there_after_a_process_that_could_not_tidy_up(path: Path) -> None:
    first = opened(path)
    first.commit([opening("a"), opening("b"), opening("c")])
    first.commit([step("a", 1)])
    first.remove(["b"])
    first.extend({"c": clock.now() + 9000})
    abandon(first)
    second = opened(path)
    assert positions(second, "abc") == [1, None, 0]
    assert (found := second.load("c")) and found.expires > clock.now() + 8000
    second.close()


def test_after_a_clean_stop_there_is_one_file_and_it_is_for_its_owner_only(path: Path) -> None:
    journal = opened(path)
    journal.commit([opening("a")])
    journal.close()
    assert sorted(file.name for file in path.parent.iterdir()) == ["sessions.db", "sessions.db.lock"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_folding_moves_sessions_to_the_table_and_shortens_the_log(path: Path) -> None:
    journal = opened(path)
    for number in range(40):
        journal.commit([opening(f"quiet {number}", b"x" * 500)])
    for position in range(1, 60):
        journal.tend()
        if position == 1:
            journal.commit([opening("busy")])
        journal.commit([step("busy", position, b"y" * 400)])
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as outside:
        assert outside.execute("SELECT count(*) FROM sessions WHERE id LIKE 'quiet%'").fetchone() == (40,)
        # A session that is always in the newest log is never written to the table.
        assert outside.execute("SELECT count(*) FROM sessions WHERE id = 'busy'").fetchone() == (0,)
        assert outside.execute("SELECT count(*) FROM recent").fetchone()[0] < 40
    outside.close()
    assert (found := journal.load("busy")) and found.position == 59
    journal.close()
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as outside:
        assert outside.execute("SELECT count(*) FROM recent").fetchone() == (0,)
        assert outside.execute("SELECT position FROM sessions WHERE id = 'busy'").fetchone() == (59,)
    outside.close()


def test_an_id_used_again_never_shows_the_session_before(path: Path) -> None:
    journal = opened(path, log_bytes=1)
    for round_ in range(6):
        assert not journal.commit([opening("a", f"round {round_}".encode(), epoch=round_)])
        for _ in range(round_):
            journal.tend()
        assert (found := journal.load("a")) and found.row == f"round {round_}".encode()
        journal.remove(["a"])
        journal.tend()
        assert journal.load("a") is None
    abandon(journal)
    again = opened(path)
    assert again.load("a") is None
    again.close()


def test_nothing_acknowledged_is_lost_when_the_process_is_killed(path: Path) -> None:
    assert require_nothing_lost(f"sqlite://{path}", kills=8) > 100


def test_a_second_process_is_refused_and_may_follow_the_first(path: Path) -> None:
    first = opened(path)
    with pytest.raises(JournalError, match="another process holds it"):
        opened(path)
    first.close()
    opened(path).close()


def test_expired_sessions_are_swept_and_remembered_and_in_the_end_forgotten(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = opened(path, log_bytes=1)
    journal.commit([opening(name, b"z" * 2000, lives_s=60) for name in "abc"])
    journal.commit([opening("d", lives_s=9000)])
    journal.extend({"c": clock.now() + 9000})
    for _ in range(5):
        journal.tend()
    assert journal.sweep() == []
    later = clock.now() + 100
    monkeypatch.setattr(clock, "now", lambda: later)
    assert sorted(journal.sweep()) == ["a", "b"] and journal.sweep() == []
    assert (found := journal.load("a")) and found.row == b"" and found.expires < later
    assert positions(journal, "cd") == [0, 0]
    assert not journal.commit([opening("b", epoch=8)])
    much_later = later + 8 * 86400
    monkeypatch.setattr(clock, "now", lambda: much_later)
    journal.extend({"b": much_later + 9000})
    while journal.sweep():
        pass
    journal.sweep()
    assert journal.load("a") is None
    assert (found := journal.load("b")) and found.epoch == 8
    journal.close()


def test_a_session_that_goes_on_while_it_is_swept_is_whole_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = opened(path, log_bytes=1)
    journal.commit([opening("a", lives_s=60)])
    for _ in range(5):
        journal.tend()
    later = clock.now() + 100
    monkeypatch.setattr(clock, "now", lambda: later)
    assert journal.sweep() == ["a"]
    assert not journal.commit([step("a", 1)])
    for _ in range(5):
        journal.tend()
    assert (found := journal.load("a")) and (found.position, found.row) == (1, b"row 1")
    assert journal.sweep() == []
    journal.close()


def test_sweeping_a_great_many_is_done_in_small_pieces(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = opened(path, log_bytes=1)
    journal.commit([opening(f"s{number}", lives_s=60) for number in range(1000)])
    for _ in range(20):
        journal.tend()
    later = clock.now() + 100
    monkeypatch.setattr(clock, "now", lambda: later)
    pieces = []
    while piece := journal.sweep():
        pieces.append(len(piece))
    assert sum(pieces) == 1000 and max(pieces) <= 200
    journal.close()


def test_the_write_ahead_log_is_kept_short(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.journal.sqlite_log.CHECKPOINT_BYTES", 100_000)
    journal = opened(path, log_bytes=50_000)
    journal.commit([opening("a")])
    for position in range(1, 300):
        journal.commit([step("a", position, b"x" * 4000)])
        journal.tend()
    assert path.with_name("sessions.db-wal").stat().st_size < 1_000_000
    assert path.stat().st_size < 1_000_000
    journal.close()


def test_a_clock_that_is_set_forward_ends_no_session(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = opened(path, log_bytes=1)
    journal.commit([opening("a", lives_s=60)])
    for _ in range(5):
        journal.tend()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 10 * 86400)
    assert journal.sweep() == []
    assert (found := journal.load("a")) and found.expires > clock.now()
    journal.close()


def test_a_clock_that_is_set_back_lets_no_session_live_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = opened(path, log_bytes=1)
    journal.commit([opening("a", lives_s=60)])
    for _ in range(5):
        journal.tend()
    real, steady = time.time, time.monotonic
    monkeypatch.setattr(time, "time", lambda: real() - 10 * 86400)
    assert journal.sweep() == []
    monkeypatch.setattr(time, "monotonic", lambda: steady() + 61)
    assert journal.sweep() == ["a"]
    assert not journal.commit([opening("a", epoch=8)])
    journal.close()


def test_what_is_not_whole_any_more_is_not_handed_out(path: Path) -> None:
    journal = opened(path)
    journal.commit([Entry("a", 1, b"x" * 100, Remembered(), EPOCH), Entry("b", 1, b"y" * 100, Remembered(), EPOCH)])
    journal.close()
    with sqlite3.connect(path) as outside:
        (value,) = outside.execute("SELECT value FROM sessions WHERE id = 'a'").fetchone()
        outside.execute("UPDATE sessions SET value = ? WHERE id = 'a'", (value.replace(b"xxx", b"xox", 1),))
    outside.close()
    journal = opened(path)
    with pytest.raises(JournalDamaged, match="session a: what is stored was changed or cut short"):
        journal.load("a")
    assert (found := journal.load("b")) and found.row == b"y" * 100
    journal.close()
