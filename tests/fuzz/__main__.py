"""`python -m tests.fuzz`: fuzz every door of a service for some minutes, and tell what came of it."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

from tests.fuzz.campaign import MIB_AT_MOST, attack
from tests.fuzz.openapi import explore
from tests.fuzz.server import fuzzed_server


def main() -> int:
    """Returns 0 if every input was answered or refused, and memory stayed where it was."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="a third of them for Schemathesis")
    parser.add_argument("--seed", type=int, default=None, help="of everything that is drawn; a new one if left out")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(2**31) if given.seed is None else given.seed
    seconds = 60 * given.minutes
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as name, fuzzed_server(Path(name)) as server:
        found_nothing, report = explore(server, Path(name), examples=10_000, seed=seed, seconds=round(seconds / 3))
        print(report, flush=True)
        findings, memory = asyncio.run(attack(server, seconds * 2 / 3, seed))
        print(findings)
        print(f"memory: {memory.before:.0f} MiB, at the end {memory.after:.0f} MiB (at most {MIB_AT_MOST:g} more)")
    return 0 if found_nothing and not findings.wrong and memory.is_flat else 1


if __name__ == "__main__":
    sys.exit(main())
