"""A server that is paused or killed in the middle of a commit of many sessions."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.errors import JournalUnavailable
from service.journal import Journal
from service.journal.location import open_journal
from tests.service.journal.entries import RECORDS, opening, step
from tests.service.journal.servers import TestServer, wait_until


@pytest.mark.parametrize("delay_s", [0.0, 0.002, 0.005, 0.01, 0.02])
@pytest.mark.parametrize("ends", [False, True])
def test_a_server_that_stops_in_the_middle_of_a_commit_has_all_of_it_or_nothing(
    server: TestServer, delay_s: float, ends: bool
) -> None:
    names = [f"s{number}" for number in range(100)]
    journal = open_journal(f"{server.location}?timeout_ms=1000", RECORDS)
    journal.commit([opening(name) for name in names])
    with ThreadPoolExecutor(1) as pool:
        # One script of about ten megabytes.
        commit = pool.submit(journal.commit, [step(name, 1, b"x" * 100_000) for name in names])
        time.sleep(delay_s)
        if ends:
            server.kill()
            server.start()
        else:
            server.pause()
            time.sleep(0.2)
            server.go_on()
        told = commit.exception(20)
    assert told is None or isinstance(told, JournalUnavailable)
    wait_until(lambda: is_well(journal), "the journal is well again")
    positions = {found.position for name in names if (found := journal.load(name))}
    assert positions in ({0}, {1})
    if told is None:
        assert positions == ({0} if commit.result() else {1})
    journal.close()


def is_well(journal: Journal) -> bool:
    try:
        journal.tend()
    except JournalUnavailable:
        return False
    return journal.trouble is None
