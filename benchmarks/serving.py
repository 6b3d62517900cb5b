"""How many one-step requests per second, beside other servers and the in-process floor?

`wrk` replays one request for each session, every session on a connection of its own. Each round starts every server
anew, checks that it answers what the graph answers, warms it up and measures it; the table tells medians over rounds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence

from benchmarks import floor, wrk
from benchmarks.contenders import Contender, check_answers, contenders, running
from benchmarks.peers import PEERS
from benchmarks.routes import Route, Server
from benchmarks.serving_table import Floors, Key, Loads, print_serving

WARM_UP_SECONDS = 1


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks serving", description=__doc__)
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), default=list(PEERS))
    chosen = parser.parse_args(arguments)
    if not wrk.is_installed():
        print(f"serving is {wrk.MISSING}", file=sys.stderr)
        return
    loads: Loads = {}
    floors: Floors = {}
    for number in range(chosen.rounds):
        for count in chosen.sessions:
            floors.setdefault(count, []).append(floor.steps_per_second(count))
        for contender in contenders(chosen.peers):
            print(f"round {number + 1} of {chosen.rounds}: {contender.name}", file=sys.stderr)
            for key, load in _measure(contender, chosen.sessions, chosen.seconds):
                loads.setdefault(key, []).append(load)
    print_serving(loads, floors)


def _measure(contender: Contender, sessions: Sequence[int], seconds: int) -> Iterator[tuple[Key, wrk.Load]]:
    """Each route of a contender at each number of sessions, on one server."""
    with running(contender) as server:
        for route in contender.routes if server else ():
            assert server is not None
            try:
                if contender.computes:
                    check_answers(server, route)
                for count in sessions:
                    yield (contender.name, route.name, count), _load(server, route, count, seconds)
            except RuntimeError as error:
                print(f"{contender.name}, {route.name} is left out: {error}", file=sys.stderr)


def _load(server: Server, route: Route, count: int, seconds: int) -> wrk.Load:
    requests = route.prepare(server.address, count)
    wrk.replay(server.address, requests, WARM_UP_SECONDS, server.process_id)
    return wrk.replay(server.address, requests, seconds, server.process_id)
