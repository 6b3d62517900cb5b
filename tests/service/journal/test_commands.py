"""`python -m service journal …` on real files: left by a clean stop, by a kill, damaged, and in use."""

from __future__ import annotations

import base64
import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from service.journal import Entry, clock
from service.journal.commands import main
from service.journal.sqlite import SqliteJournal
from service.journal.sqlite_file import JournalError
from tests.service.journal.entries import EPOCH, RECORDS, Remembered, opening, step
from tests.service.journal.killing import abandon


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


def opened(path: Path) -> SqliteJournal:
    return SqliteJournal(path, RECORDS, patience_s=0)


@pytest.fixture
def left_behind(path: Path) -> Path:
    """What a process that was killed leaves: sessions in the table, and some in the log alone."""
    first = opened(path)
    first.commit([opening("a"), opening("b"), opening("gone", lives_s=-1)])
    first.close()
    second = opened(path)
    second.commit([step("a", 1), opening("c")])
    abandon(second)
    return path


def test_check_tells_what_is_there(left_behind: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(left_behind)]) == 0
    said = capsys.readouterr().out
    assert "sessions: 3 living, 1 expired" in said and "log: 1 commits" in said and said.endswith("whole\n")


def test_check_may_look_while_a_service_writes(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = opened(path)
    journal.commit([opening("a")])
    assert main(["check", str(path)]) == 0
    journal.commit([step("a", 1)])
    assert "sessions: 1 living" in capsys.readouterr().out
    journal.close()


def test_check_finds_an_entry_that_was_changed(left_behind: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with sqlite3.connect(left_behind) as outside:
        (value,) = outside.execute("SELECT value FROM sessions WHERE id = 'b'").fetchone()
        outside.execute("UPDATE sessions SET value = ? WHERE id = 'b'", (value.replace(b"row", b"ruw"),))
    outside.close()
    assert main(["check", str(left_behind)]) == 1
    assert "DAMAGED: session b: what is stored was changed" in capsys.readouterr().out


def test_check_finds_a_page_that_was_overwritten(left_behind: Path, capsys: pytest.CaptureFixture[str]) -> None:
    opened(left_behind).close()
    with left_behind.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 200)
    assert main(["check", str(left_behind)]) in (1, 2)
    said = capsys.readouterr()
    assert "DAMAGED" in said.out or "the file is damaged" in said.err


@pytest.mark.parametrize("command", ["check", "compact", "export"])
def test_a_file_that_is_no_journal_is_refused(path: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, str(path)]) == 2
    path.write_text("shopping list\n" * 50)
    assert main([command, str(path)]) == 2
    said = capsys.readouterr().err
    assert "there is no such file" in said and "this is no SQLite database" in said


def test_compact_gives_back_what_is_not_used(path: Path) -> None:
    journal = opened(path)
    for number in range(100):
        journal.commit([opening(f"s{number}", b"x" * 5000)])
    journal.remove(f"s{number}" for number in range(1, 100))
    journal.close()
    before = path.stat().st_size
    assert main(["compact", str(path)]) == 0
    assert path.stat().st_size < before / 5
    again = opened(path)
    assert again.load("s0") is not None and again.load("s1") is None
    again.close()


def test_compact_wants_the_file_alone(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = opened(path)
    assert main(["compact", str(path)]) == 2
    assert "another process holds it" in capsys.readouterr().err
    journal.close()


def test_a_copy_taken_while_a_service_writes_is_a_journal(path: Path, tmp_path: Path) -> None:
    journal = opened(path)
    journal.commit([opening("a")])
    assert main(["copy", str(path), str(tmp_path / "copy.db")]) == 0
    journal.commit([step("a", 1)])
    journal.close()
    restored = opened(tmp_path / "copy.db")
    assert (found := restored.load("a")) and found.position == 0
    restored.close()
    assert main(["copy", str(path), str(tmp_path / "copy.db")]) == 2


def put_in_its_place(copy: Path, path: Path) -> None:
    """As an operator might, who does not know of the files beside it."""
    path.write_bytes(copy.read_bytes())


def test_a_copy_that_was_put_beside_an_old_log_is_noticed(left_behind: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    assert main(["copy", str(left_behind), str(copy)]) == 0
    journal = opened(left_behind)
    journal.commit([step("a", 2)])
    abandon(journal)
    keep_a_log_beside(left_behind)
    put_in_its_place(copy, left_behind)
    with pytest.raises(JournalError, match="sessions.db-wal beside it is another file's.*restore COPY"):
        opened(left_behind)


def keep_a_log_beside(path: Path) -> None:
    """As a process leaves it that is killed in the middle of something."""
    log = path.with_name(path.name + "-wal")
    if not log.exists():
        log.write_bytes(b"7" * 5000)


def test_restore_puts_a_copy_back_and_keeps_what_was_there(
    left_behind: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy.db"
    main(["copy", str(left_behind), str(copy)])
    journal = opened(left_behind)
    journal.commit([step("a", 2)])
    abandon(journal)
    keep_a_log_beside(left_behind)
    assert main(["restore", str(copy), str(left_behind)]) == 0
    kept = Path(capsys.readouterr().out.split("what was there is ")[1].strip())
    assert kept.exists() and kept.with_name(kept.name + "-wal").exists()
    restored = opened(left_behind)
    assert (found := restored.load("a")) and found.position == 1
    assert not restored.commit([step("a", 2)])
    restored.close()
    assert main(["check", str(left_behind)]) == 0


def test_restore_takes_no_copy_that_is_not_whole_and_no_file_in_use(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy.db"
    journal = opened(path)
    journal.commit([opening("a"), opening("b")])
    main(["copy", str(path), str(copy)])
    assert main(["restore", str(copy), str(path)]) == 2
    assert "another process holds it" in capsys.readouterr().err
    journal.close()
    before = path.read_bytes()
    copy.write_bytes(copy.read_bytes().replace(b"row 0", b"ruw 0"))
    assert main(["restore", str(copy), str(path)]) == 2
    assert "it is not whole, and nothing was changed" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_a_folder_is_not_called_a_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path)]) == 2
    assert "this is a folder: name the file in it" in capsys.readouterr().err


def test_check_counts_what_only_the_write_ahead_log_has(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = opened(path)
    journal.commit([opening(f"s{number}", b"x" * 3000) for number in range(100)])
    main(["check", str(path)])
    size = int(capsys.readouterr().out.splitlines()[0].split(": ")[1].split(" ")[0].replace(",", ""))
    assert size > 300_000 > path.stat().st_size
    journal.close()


def test_export_writes_every_living_session(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = Remembered("m/1", np.datetime64("2024-07-01T05", "h"), {"pit": np.array([0.5], np.float32)})
    journal = opened(path)
    journal.commit([Entry("a", 4, b"\x00\x01", record, EPOCH, expires=clock.now() + 60), opening("gone", lives_s=-1)])
    abandon(journal)
    assert main(["export", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    told = json.loads(lines[0])
    assert (told["id"], told["epoch"], told["position"]) == ("a", EPOCH, 4)
    assert base64.b64decode(told["row"]) == b"\x00\x01"
    pit = told["record"]["outputs"].pop("pit")
    assert np.frombuffer(base64.b64decode(pit["base64"]), pit["dtype"]).tolist() == [0.5]
    assert told["record"] == {"model": "m/1", "started": "2024-07-01T05", "outputs": {}}


def test_it_is_a_command_of_the_service(left_behind: Path) -> None:
    command = [sys.executable, "-m", "service", "journal", "check", str(left_behind)]
    answer = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, timeout=60)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.endswith("whole\n")
