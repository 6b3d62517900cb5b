"""A process that commits steps of many sessions as fast as it can, to be killed: `python stepping.py location seed`.

After every commit it prints what is acknowledged from then on, one line of `id position` pairs.
"""

from __future__ import annotations

import hashlib
import random
import sys
from pathlib import Path

from service.journal import NOWHERE, Entry, Journal
from service.journal.location import open_journal
from service.journal.sqlite import SqliteJournal
from tests.service.journal.entries import RECORDS, Remembered

SESSIONS = [f"s{number}" for number in range(12)]


def row_of(session_id: str, position: int) -> bytes:
    """The only row that a session may have at a position; its length changes from step to step."""
    seed = hashlib.sha256(f"{session_id} {position}".encode()).digest()
    return seed * (1 + position % 60)


def opened(location: str) -> Journal:
    """The journal there; one in a file folds its log all the time, so that it is killed in the midst of that, too."""
    if location.startswith("sqlite://"):
        return SqliteJournal(Path(location.removeprefix("sqlite://")), RECORDS, log_bytes=20_000)
    return open_journal(location, RECORDS)


def main(location: str, seed: int) -> None:
    journal = opened(location)
    chance = random.Random(seed)
    stands = {name: (found.epoch, found.position) for name in SESSIONS if (found := journal.load(name))}
    while True:
        chosen = chance.sample(SESSIONS, chance.randint(1, len(SESSIONS)))
        entries = []
        for name in chosen:
            epoch, position = stands.get(name, (seed, NOWHERE))
            entries.append(Entry(name, position + 1, row_of(name, position + 1), Remembered(), epoch, position))
            stands[name] = (epoch, position + 1)
        assert not journal.commit(entries)
        print(" ".join(f"{entry.session_id} {entry.position}" for entry in entries), flush=True)
        if chance.random() < 0.5:
            journal.tend()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
