from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from service.journal.location import check_location, open_journal
from service.journal.memory import MemoryJournal
from service.journal.sqlite import SqliteJournal
from service.journal.valkey import ValkeyJournal
from tests.service.journal.entries import RECORDS


def test_a_location_names_the_kind_of_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for location, kind in (
        ("memory:", MemoryJournal),
        (f"sqlite://{tmp_path}/absolute.db", SqliteJournal),
        (f"sqlite:///{tmp_path}/with four slashes.db", SqliteJournal),
        ("sqlite:relative.db", SqliteJournal),
        ("valkey://localhost", ValkeyJournal),
        ("rediss://user:p%40ss@cache.example:7000/2?copies=1&wait_ms=500&timeout_ms=250", ValkeyJournal),
        ("valkey://node?cluster=yes&prefix=replica.a:", ValkeyJournal),
    ):
        assert check_location(location) == location
        journal = open_journal(location, RECORDS)
        assert isinstance(journal, kind)
        journal.close()
    assert {file.name for file in tmp_path.glob("*.db")} == {"absolute.db", "with four slashes.db", "relative.db"}


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("", "expected memory:"),
        ("postgres://host/db", "expected memory:"),
        ("memory://host", "expected memory:"),
        ("/var/lib/sessions.db", "expected memory:"),
        ("sqlite:", "expected sqlite:///path"),
        ("sqlite://host/path", "expected sqlite:///path"),
        ("sqlite:///", "expected sqlite:///path"),
        ("valkey:///0", "expected memory:"),
        ("valkey://host/zero", "database: expected a whole number from 0"),
        ("valkey://host?copies=-1", "copies: expected a whole number from 0 to 100"),
        ("valkey://host?timeout_ms=fast", "timeout_ms: expected a whole number from 10"),
        ("valkey://host?cluster=maybe", "cluster: expected yes or no"),
        ("valkey://host/1?cluster=yes", "a cluster has the database 0 alone"),
        ("valkey://host?prefix=a*", "prefix: expected letters"),
        ("valkey://host?replicas=2", "replicas: no such option; known are cluster, prefix, copies"),
        ("valkey://host:port", "port: expected a whole number"),
    ],
)
def test_what_is_no_location_is_refused_with_what_was_expected(location: str, reason: str) -> None:
    for read in (check_location, lambda text: open_journal(text, RECORDS)):
        with pytest.raises(ValueError, match=reason):
            read(location)


def test_a_refusal_does_not_repeat_a_password() -> None:
    for location in (
        "valkey://:hunter2@host?copies=x",
        "valky://:hunter2@host",
        "valkey://:hunter2@host:port",
        "valkey://:hunter2#@host",
    ):
        with pytest.raises(ValueError) as refused:
            check_location(location)
        assert "hunter2" not in str(refused.value)


def test_only_who_uses_a_server_pays_for_its_client_library() -> None:
    code = "import sys, service.journal.location; sys.exit('valkey' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3]).returncode == 0
