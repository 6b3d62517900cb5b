"""How much of the in-process rate is left when a message carries many steps?

64 sessions take 16 steps with each message: over a WebSocket for each session in binary frames, and in bulk requests
that carry the steps of all 64 (`POST /v1/observe`, binary), one after another and two at a time. The floor is the
bare graph on 64 sessions × 16 steps in one run, in this process, in the same round.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks import floor, models, native, wrk
from benchmarks.bare_stream import BareStream
from benchmarks.crowd import drive
from benchmarks.processes import Usage, watched
from benchmarks.routes import Server
from benchmarks.server import running_server
from benchmarks.table import print_table, rate, ratio

WARM_UP_SECONDS = 1


@dataclass(frozen=True)
class Seen:
    """One round: steps per second, and how many cores server and client kept busy."""

    steps_per_second: float
    server: Usage
    client_cores: float


Way = Callable[[Server, int, int, int], Seen]
"""(server, sessions, steps of each in a message, seconds) → what was seen."""


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks bulk", description=__doc__)
    parser.add_argument("--sessions", type=int, default=64)
    parser.add_argument("--steps", type=int, default=16, help="of each session in a message")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    chosen = parser.parse_args(arguments)
    ways: dict[str, Way] = {"WebSocket, binary": _by_websocket}
    if wrk.is_installed():
        ways["bulk requests, one after another"] = lambda *asked: _by_request(*asked, connections=1)
        ways["bulk requests, two at a time"] = lambda *asked: _by_request(*asked, connections=2)
    else:
        print(f"the bulk request is {wrk.MISSING}", file=sys.stderr)
    floors: list[float] = []
    seen: dict[str, list[Seen]] = {name: [] for name in ways}
    with running_server(models.repository()) as server:
        for _ in range(chosen.rounds):
            floors.append(floor.steps_per_second(chosen.sessions, chosen.steps, chosen.seconds))
            for name, way in ways.items():
                seen[name].append(way(server, chosen.sessions, chosen.steps, chosen.seconds))
    _print(f"{chosen.sessions} sessions × {chosen.steps} steps a message, LSTM-128", floors, seen)


def _by_websocket(server: Server, sessions: int, steps: int, seconds: int) -> Seen:
    ids = native.open_sessions(server.address, sessions)
    with ExitStack() as stack:
        streams = [stack.enter_context(BareStream(server.address, session, steps)) for session in ids]
        drive(streams, WARM_UP_SECONDS)
        own = time.process_time()
        with watched(server.process_id) as usage:
            answers, elapsed = drive(streams, seconds)
        client = (time.process_time() - own) / elapsed
    return Seen(answers * steps / elapsed, usage, client)


def _by_request(server: Server, sessions: int, steps: int, seconds: int, *, connections: int) -> Seen:
    requests = [native.bulk_request(native.open_sessions(server.address, sessions), steps) for _ in range(connections)]
    wrk.replay(server.address, requests, WARM_UP_SECONDS, server.process_id)
    load = wrk.replay(server.address, requests, seconds, server.process_id)
    return Seen(load.requests_per_second * sessions * steps, load.server, load.generator_cores)


def _print(title: str, floors: list[float], seen: dict[str, list[Seen]]) -> None:
    bare = statistics.median(floors)
    rows: list[Sequence[object]] = [("the graph in this process (the floor)", rate(bare), 1, "", "")]
    for name, rounds in seen.items():
        served = statistics.median(one.steps_per_second for one in rounds)
        server = statistics.median(one.server.cores for one in rounds)
        client = statistics.median(one.client_cores for one in rounds)
        rows.append((name, rate(served), ratio(served / bare), ratio(server), ratio(client)))
    print_table(title, ["", "steps/s", "of the floor", "server cores", "client cores"], rows)
