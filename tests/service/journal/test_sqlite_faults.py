"""What can go wrong with the file and its disk: said clearly, nothing overwritten, and gone on from where possible."""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.errors import JournalDamaged, JournalUnavailable
from service.journal.sqlite import SqliteJournal
from service.journal.sqlite_file import JournalError
from tests.service.journal.entries import RECORDS, opening, step
from tests.service.journal.killing import abandon

NOBODY = 65534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


def opened(path: Path) -> SqliteJournal:
    return SqliteJournal(path, RECORDS, log_bytes=1, patience_s=0)


def with_sessions(path: Path, count: int = 30) -> Path:
    """A file that a service left behind."""
    journal = opened(path)
    journal.commit([opening(f"s{number}", b"x" * 3000) for number in range(count)])
    journal.close()
    return path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def require_refused(path: Path, reason: str) -> None:
    """The journal does not open, says why, and the file is as it was."""
    before = digest(path)
    with pytest.raises(JournalError, match=reason):
        opened(path)
    assert digest(path) == before


# What is there already.


def test_a_file_that_is_no_database_is_left_alone(path: Path) -> None:
    path.write_text("shopping list\n" * 100)
    require_refused(path, "no SQLite database")


def test_a_database_of_another_application_is_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as theirs:
        theirs.execute("CREATE TABLE users (name TEXT)")
    theirs.close()
    require_refused(path, "another application's database: name another file")


@pytest.mark.parametrize("version", [0, 3, 99])
def test_another_schema_version_is_refused_with_both(path: Path, version: int) -> None:
    with_sessions(path)
    with sqlite3.connect(path) as changed:
        changed.execute(f"PRAGMA user_version = {version}")
    changed.close()
    require_refused(path, f"expected schema version 2, got {version}: use the release that wrote it")


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="there is no folder"):
        opened(tmp_path / "missing" / "sessions.db")
    assert not (tmp_path / "missing").exists()


def test_a_folder_in_place_of_a_file_is_refused(path: Path) -> None:
    path.mkdir()
    with pytest.raises(JournalError, match="cannot be opened for writing"):
        opened(path)


def test_a_creation_that_was_cut_short_is_made_up_for(path: Path) -> None:
    path.touch()
    opened(path).close()
    path.unlink()
    with sqlite3.connect(path) as begun:
        begun.execute("PRAGMA journal_mode = WAL")
    begun.close()
    opened(path).close()


# Damage.


def test_a_file_that_was_cut_short_is_refused(path: Path) -> None:
    with_sessions(path)
    with path.open("r+b") as file:
        file.truncate(6000)
    require_refused(path, "the file is damaged|no SQLite database")


def test_damage_met_on_the_way_stops_all_writing(path: Path) -> None:
    with_sessions(path)
    pages = pages_of(path)
    damaged = {number: b"\xff" * 200 + page[200:] for number, page in pages.items() if b"x" * 2000 in page}
    with path.open("r+b") as file:
        for number, page in damaged.items():
            os.pwrite(file.fileno(), page, number * 4096)
    journal = opened(path)
    with pytest.raises(JournalDamaged, match="the file is damaged: look at it with"):
        for number in range(30):
            journal.load(f"s{number}")
    assert journal.trouble is not None and "damaged" in journal.trouble
    with pytest.raises(JournalDamaged):
        journal.commit([opening("new")])
    with pytest.raises(JournalDamaged):
        journal.tend()
    journal.close()
    assert pages_of(path).items() >= damaged.items()


def pages_of(path: Path) -> dict[int, bytes]:
    content = path.read_bytes()
    return {at // 4096: content[at : at + 4096] for at in range(0, len(content), 4096)}


def test_a_write_that_was_torn_at_the_end_of_the_log_takes_nothing_else_with_it(path: Path, tmp_path: Path) -> None:
    journal = SqliteJournal(path, RECORDS)
    journal.commit([opening("a")])
    for position in range(1, 20):
        journal.commit([step("a", position, b"x" * 3000)])
    sizes = path.with_name("sessions.db-wal").stat().st_size
    journal.commit([step("a", 20, b"y" * 3000)])
    after = path.with_name("sessions.db-wal").stat().st_size
    assert after > sizes
    for number, cut in enumerate(range(sizes, after, 1500)):
        copy = tmp_path / str(number) / "sessions.db"
        copy.parent.mkdir()
        shutil.copy(path, copy)
        shutil.copy(path.with_name("sessions.db-wal"), copy.with_name("sessions.db-wal"))
        os.truncate(copy.with_name("sessions.db-wal"), cut)
        torn = opened(copy)
        assert (found := torn.load("a")) and found.position == 19
        assert not torn.commit([step("a", 20)])
        torn.close()
    journal.close()


# Disks.


def test_a_full_disk_is_said_and_gone_on_from_when_there_is_room(path: Path) -> None:
    journal = opened(path)
    journal.commit([opening("a")])
    with files_no_longer_than(path.with_name("sessions.db-wal").stat().st_size + 6000):
        fill_up(journal)
    require_goes_on(journal, path)


def test_a_full_volume_is_said_and_gone_on_from_when_there_is_room(tmp_path: Path) -> None:
    with small_volume(tmp_path / "volume") as volume:
        ballast = volume / "ballast"
        ballast.write_bytes(b"0" * 300_000)
        path = volume / "sessions.db"
        journal = opened(path)
        journal.commit([opening("a")])
        fill_up(journal)
        assert journal.trouble is not None and "the disk is full: make room" in journal.trouble
        ballast.unlink()
        require_goes_on(journal, path)


def test_a_full_volume_at_the_start_is_refused(tmp_path: Path) -> None:
    with small_volume(tmp_path / "volume") as volume:
        (volume / "ballast").write_bytes(b"0" * 1_048_576)
        with pytest.raises(JournalError, match="the disk is full|reading or writing failed"):
            opened(volume / "sessions.db")
        (volume / "ballast").unlink()
        opened(volume / "sessions.db").close()


def fill_up(journal: SqliteJournal) -> None:
    """Commit until there is no room, and see that what was acknowledged is there and the rest is not."""
    position = 0
    with pytest.raises(JournalUnavailable, match=r"journal sessions.db: (the disk is full|reading or writing failed)"):
        while True:
            journal.commit([step("a", position + 1, b"x" * 3000)])
            position += 1
            assert position < 1000, "the disk never became full"
    assert (found := journal.load("a")) and found.position == position
    assert journal.trouble is not None
    with pytest.raises(JournalUnavailable):
        journal.tend()


def require_goes_on(journal: SqliteJournal, path: Path) -> None:
    assert (found := journal.load("a"))
    journal.tend()
    assert journal.trouble is None
    assert not journal.commit([step("a", found.position + 1)])
    abandon(journal)
    again = opened(path)
    assert (kept := again.load("a")) and kept.position == found.position + 1
    again.close()


@contextmanager
def files_no_longer_than(size: int) -> Iterator[None]:
    """A bound on every file this process writes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def small_volume(folder: Path) -> Iterator[Path]:
    """A file system of one megabyte; the test is skipped where none may be mounted."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system may be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_file_that_may_not_be_written_is_refused() -> None:
    with folder_of_nobody() as folder:
        path = with_sessions(folder / "sessions.db")
        path.chmod(0o444)
        path.with_name("sessions.db.lock").chmod(0o666)
        with as_nobody():
            require_refused(path, "cannot be opened for writing: Permission denied")


def test_a_read_only_folder_is_refused() -> None:
    with folder_of_nobody() as folder:
        with_sessions(folder / "sessions.db")
        (folder / "sessions.db.lock").unlink()
        folder.chmod(0o555)
        with as_nobody(), pytest.raises(JournalError, match="cannot be written beside it"):
            opened(folder / "sessions.db")
        folder.chmod(0o755)


@contextmanager
def folder_of_nobody() -> Iterator[Path]:
    """A folder that an ordinary user can reach, since nothing is read-only for root."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def as_nobody() -> Iterator[None]:
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_that_is_deleted_under_the_service_is_noticed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = opened(path)
    journal.commit([opening("a")])
    path.unlink()
    monkeypatch.setattr(journal, "_looked", -10.0)
    with pytest.raises(JournalDamaged, match="moved or deleted"):
        journal.tend()
    assert journal.trouble is not None
    with pytest.raises(JournalDamaged, match="moved or deleted"):
        journal.commit([step("a", 1)])
    abandon(journal)


FAILING_SYNC = """
#include <errno.h>
#include <unistd.h>
static int fails(void) { if (access("FLAG", F_OK) == 0) { errno = EIO; return 1; } return 0; }
int fsync(int fd) { return fails() ? -1 : 0; }
int fdatasync(int fd) { return fails() ? -1 : 0; }
"""
STEPS_WHILE_SYNC_FAILS = """
import pathlib, sys
from service.errors import JournalUnavailable
from tests.service.journal.entries import opening, step
from tests.service.journal.test_sqlite_faults import opened
path, flag = map(pathlib.Path, sys.argv[1:])
journal = opened(path)
journal.commit([opening("a")])
journal.commit([step("a", 1)])
flag.touch()
try:
    journal.commit([step("a", 2, b"never acknowledged")])
except JournalUnavailable as error:
    print(error)
assert journal.trouble and journal.load("a").position == 1
flag.unlink()
journal.tend()
assert journal.trouble is None
assert not journal.commit([step("a", 2)])
"""


def test_a_sync_that_fails_is_not_acknowledged(path: Path, tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler to make a failing fsync with")
    library, flag = tmp_path / "failing.so", tmp_path / "fail"
    source = FAILING_SYNC.replace("FLAG", str(flag)).encode()
    subprocess.run([compiler, "-shared", "-fPIC", "-x", "c", "-o", str(library), "-"], input=source, check=True)
    answer = subprocess.run(
        [sys.executable, "-c", STEPS_WHILE_SYNC_FAILS, str(path), str(flag)],
        cwd=Path(__file__).parents[3],
        env=os.environ | {"LD_PRELOAD": str(library)},
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stderr
    assert "reading or writing failed" in answer.stdout and "SQLITE_IOERR_FSYNC" in answer.stdout
    journal = opened(path)
    assert (found := journal.load("a")) and found.row == b"row 2"
    journal.close()
