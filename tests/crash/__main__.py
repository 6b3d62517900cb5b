"""`python -m tests.crash`: kill and stop the service tens of times under load; what became of what it acknowledged?"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.crash.stop import stop_under_load
from tests.crash.storm import Weather, storm
from tests.service.journal.servers import running_server


def main() -> int:
    """Returns 0 if nothing was lost, doubled or wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--journal", choices=("sqlite", "valkey"), default="sqlite")
    parser.add_argument("--replicas", type=int, default=1, help="on one Valkey; SQLite has one")
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--stops", type=int, default=10, help="with SIGTERM, after the kills")
    parser.add_argument("--sessions", type=int, default=32)
    parser.add_argument("--steps", type=int, default=2000, help="of each session, at most until the last kill")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        journal = f"sqlite://{folder}/sessions.db"
        if given.journal == "valkey":
            journal = stack.enter_context(running_server(folder / "valkey")).location
        elif given.replicas > 1:
            parser.error("a SQLite file has one service: --journal valkey takes several replicas")
        weather = Weather(journal, given.sessions, given.steps, given.kills, given.replicas, given.seed)
        report = asyncio.run(storm(weather, folder))
        print(report, flush=True)
        stopping = stop_under_load(
            journal, folder, sessions=given.sessions, stops=given.stops, replicas=given.replicas, seed=given.seed
        )
        stopped = asyncio.run(stopping)
    print(stopped)
    return 1 if report.wrong or stopped.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
