"""A server that Sentinels look after: found through them, and again where it has become another one."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.errors import JournalUnavailable
from service.journal import Journal
from service.journal.location import check_location, open_journal
from tests.service.journal.entries import RECORDS, opening, step
from tests.service.journal.servers import running_sentinel, running_server, wait_until


def test_a_failover_is_followed(tmp_path: Path) -> None:
    with (
        running_server(tmp_path / "first") as first,
        running_server(tmp_path / "second", "--replicaof", "127.0.0.1", str(first.port)) as second,
        running_sentinel(tmp_path / "sentinel", first) as location,
    ):
        wait_until(lambda: "master_link_status:up" in second.says("INFO", "replication"), "the replica is in step")
        wait_until(lambda: "slave0" in first.says("INFO", "replication"), "the master knows it")
        # Nothing is lost where the replica must have a commit before it counts.
        journal = open_journal(f"{location}&copies=1&timeout_ms=500", RECORDS)
        wait_until(lambda: commits(journal, 0), "the journal is there")
        assert not journal.commit([step("a", 1)])
        first.kill()
        other = open_journal(f"{location}&timeout_ms=500", RECORDS)
        wait_until(lambda: goes_on(other), "the replica has become the master")
        assert (found := other.load("a")) and found.position == 2
        for one in (journal, other):
            one.close()


def commits(journal: Journal, position: int) -> bool:
    try:
        return not journal.commit([opening("a") if position == 0 else step("a", position)])
    except JournalUnavailable:
        return False


def goes_on(journal: Journal) -> bool:
    return commits(journal, 2)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("sentinels=a:1", "expected sentinel as well"),
        ("sentinel=s&sentinels=:5", "expected host:port"),
        ("sentinel=s&sentinels=a:b", "whole number"),
        ("sentinel=s&cluster=yes", "expected one of them"),
    ],
)
def test_what_makes_no_sense_is_refused(options: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_location(f"valkey://sentinel:26379/0?{options}")
    assert check_location("valkey://sentinel/0?sentinel=s&sentinels=b,c:26380")
