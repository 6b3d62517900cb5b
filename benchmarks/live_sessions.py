"""Does a step cost more the more sessions live, and how much memory does a session take?

For each number of sessions a server of its own opens them all and takes each a step on. Then `wrk` sends one step to
each session in random order, and so on; the servers are measured in turn, so that ratios are of the same minutes.
Memory is what the server's resident set grew by since it was empty, beside the bytes of the state rows themselves.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from benchmarks import models, native, wrk
from benchmarks.processes import resident_bytes
from benchmarks.routes import Server
from benchmarks.server import running_server
from benchmarks.table import print_table, rate, ratio

CONNECTIONS = 64
WARM_UP_SECONDS = 2
ROW_BYTES = 4 * models.STATE_WIDTH


@dataclass
class Crowd:
    """A server with its sessions, and what was seen of it."""

    server: Server
    sessions: int
    empty_bytes: int
    loads: list[wrk.Load] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return statistics.median(load.requests_per_second for load in self.loads)

    @property
    def grown_bytes(self) -> int:
        return resident_bytes(self.server.process_id) - self.empty_bytes


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks live_sessions", description=__doc__)
    parser.add_argument("--sessions", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    chosen = parser.parse_args(arguments)
    if not wrk.is_installed():
        print(f"live_sessions is {wrk.MISSING}", file=sys.stderr)
        return
    with ExitStack() as stack:
        crowds = [_crowd(stack, sessions) for sessions in chosen.sessions]
        for crowd in crowds:
            _load(crowd, WARM_UP_SECONDS)
        for _ in range(chosen.rounds):
            for crowd in crowds:
                crowd.loads.append(_load(crowd, chosen.seconds))
        _print(crowds)


def _crowd(stack: ExitStack, sessions: int) -> Crowd:
    """A server of its own with so many sessions, each of which has taken a step."""
    limit = str(sessions + 1000)
    server = stack.enter_context(
        running_server(models.repository(), "--max-sessions", limit, "--resident-sessions", limit)
    )
    native.prepare(server.address, 1)
    empty = resident_bytes(server.process_id)
    native.open_numbered(server.address, sessions)
    print(f"{sessions:,} sessions are open", file=sys.stderr)
    return Crowd(server, sessions, empty)


def _load(crowd: Crowd, seconds: int) -> wrk.Load:
    server = crowd.server
    return wrk.visit(server.address, native.numbered_request(), crowd.sessions, CONNECTIONS, seconds, server.process_id)


def _print(crowds: list[Crowd]) -> None:
    first = crowds[0]
    print_table(
        f"Live sessions, one step each at random over {CONNECTIONS} connections, LSTM-128",
        [
            "sessions",
            "steps/s",
            f"of {first.sessions:,}",
            "99 % ms",
            "MiB",
            "bytes/session",
            "of its row",
            "server cores",
        ],
        [
            (
                f"{crowd.sessions:,}",
                rate(crowd.rate),
                ratio(crowd.rate / first.rate),
                f"{statistics.median(load.p99_ms for load in crowd.loads):.2f}",
                rate(crowd.grown_bytes / 2**20),
                rate(crowd.grown_bytes / crowd.sessions),
                ratio(crowd.grown_bytes / crowd.sessions / ROW_BYTES),
                ratio(statistics.median(load.server.cores for load in crowd.loads)),
            )
            for crowd in crowds
        ],
    )
