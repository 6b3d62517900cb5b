"""Kill a process that commits, again and again, and see that nothing it acknowledged is lost."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

from service.journal import Journal
from tests.service.journal import stepping

ROOT = Path(__file__).parents[3]


def acknowledged_until_killed(location: str, seed: int) -> dict[str, int]:
    """Let a process commit for a moment, kill it, and return the last position it acknowledged of each session."""
    command = [sys.executable, "-m", "tests.service.journal.stepping", location, str(seed)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(random.Random(seed).uniform(0.0, 0.15))
        process.kill()
        lines = [first, *process.stdout]
    acknowledged: dict[str, int] = {}
    # A line that was cut short by the kill may be of a commit all the same, but nobody read it.
    for line in (line for line in lines if line.endswith("\n")):
        words = line.split()
        acknowledged |= dict(zip(words[::2], map(int, words[1::2]), strict=True))
    assert acknowledged, "the process was killed before it committed anything"
    return acknowledged


def require_nothing_lost(location: str, kills: int) -> int:
    """Kill so many times, and after each look at every session. Returns the steps that were acknowledged in all."""
    steps = 0
    last: dict[str, int] = {}
    for seed in range(1, kills + 1):
        acknowledged = acknowledged_until_killed(location, seed)
        steps += sum(position - last.get(name, -1) for name, position in acknowledged.items())
        last |= acknowledged
        journal = stepping.opened(location)
        try:
            for name, position in last.items():
                found = journal.load(name)
                assert found is not None, f"{name} is lost"
                # One commit may have been stored and not been printed any more.
                assert found.position in (position, position + 1)
                assert found.row == stepping.row_of(name, found.position)
                last[name] = found.position
        finally:
            journal.close() if seed % 2 else abandon(journal)
    return steps


def abandon(journal: Journal) -> None:
    """End as a process does that has no time to tidy up."""
    undo = getattr(journal, "_undo", None)
    if undo is None:
        journal.close()
    else:
        undo.close()
