"""Several replicas at the same sessions while their server is paused, killed and restarted: every step counts once."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from threading import Event, Thread

from msgspec.structs import replace

from service.errors import JournalUnavailable
from service.journal import Entry, Journal
from service.journal.location import open_journal
from tests.service.journal.entries import RECORDS, opening
from tests.service.journal.servers import TestServer, wait_until

SESSIONS = [f"s{number}" for number in range(6)]
REPLICAS = 3


@dataclass
class Replica:
    """Steps sessions at random, and writes down what it was told of each step."""

    journal: Journal
    chance: random.Random
    stop: Event
    entries: dict[str, Entry] = field(default_factory=dict)
    stored: list[tuple[str, int]] = field(default_factory=list)
    refused: int = 0
    unknown: int = 0
    failure: BaseException | None = None

    def run(self) -> None:
        try:
            while not self.stop.is_set():
                self.step()
        except BaseException as error:
            self.failure = error
            raise

    def step(self) -> None:
        chosen = self.chance.sample(SESSIONS, self.chance.randint(1, 3))
        try:
            steps = [self._next(name) for name in chosen]
        except JournalUnavailable:
            time.sleep(0.05)
            return
        try:
            refused = self.journal.commit(steps)
        except JournalUnavailable:
            self.unknown += len(steps)
            self._forget(chosen)
            return
        self.refused += len(refused)
        self._forget(refused)
        for step in steps:
            if step.session_id not in refused:
                self.stored.append((step.session_id, step.position))
                self.entries[step.session_id] = replace(step, previous=step.position)

    def _next(self, name: str) -> Entry:
        """One step on from what this replica believes, which is out of date where another was faster."""
        if name not in self.entries:
            found = self.journal.load(name)
            assert found is not None, f"{name} is lost"
            self.entries[name] = found
        entry = self.entries[name]
        return replace(entry, position=entry.position + 1, row=b"%d" % (entry.position + 1))

    def _forget(self, names: Collection[str]) -> None:
        for name in names:
            self.entries.pop(name, None)


def test_every_step_that_was_acknowledged_counts_once_whatever_happens_to_the_server(server: TestServer) -> None:
    stop = Event()
    journals = [open_journal(f"{server.location}?timeout_ms=250", RECORDS) for _ in range(REPLICAS)]
    journals[0].commit([opening(name, b"0") for name in SESSIONS])
    replicas = [Replica(journal, random.Random(number), stop) for number, journal in enumerate(journals)]
    threads = [Thread(target=replica.run) for replica in replicas]
    for thread in threads:
        thread.start()
    disturb(server)
    stop.set()
    for thread in threads:
        thread.join()
    assert [replica.failure for replica in replicas] == [None] * REPLICAS
    wait_until(lambda: is_well(journals[0]), "the journal is well")
    stored = Counter(step for replica in replicas for step in replica.stored)
    assert max(stored.values()) == 1, "two replicas were told that they had made the same step"
    in_doubt = sum(replica.unknown for replica in replicas)
    made = 0
    for name in SESSIONS:
        found = journals[0].load(name)
        assert found is not None and found.row == b"%d" % found.position
        assert max((position for session, position in stored if session == name), default=0) <= found.position
        made += found.position
    # Every step that stands was acknowledged, or is one of those whose outcome was not known.
    assert len(stored) <= made <= len(stored) + in_doubt
    assert len(stored) > 50 and sum(replica.refused for replica in replicas) > 10
    for journal in journals:
        journal.close()


def disturb(server: TestServer) -> None:
    for _ in range(3):
        time.sleep(0.3)
        server.pause()
        time.sleep(0.35)  # past the time-out of what is on its way, within that of looking into it
        server.go_on()
        time.sleep(0.3)
        server.kill()
        time.sleep(0.1)
        server.start()


def is_well(journal: Journal) -> bool:
    try:
        journal.tend()
        return journal.load(SESSIONS[0]) is not None
    except JournalUnavailable:
        return False
