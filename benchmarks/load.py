"""`python -m benchmarks load`: one-step requests on the native route, to profile the server meanwhile."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from benchmarks import models, native, wrk
from benchmarks.server import running_server


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks load", description=__doc__)
    parser.add_argument("--address", help="host:port of a server that runs already; one is started if left out")
    parser.add_argument("--process", type=int, default=0, help="that server's process id, to tell how busy it is")
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--seconds", type=int, default=5)
    chosen = parser.parse_args(arguments)
    if chosen.address:
        _drive(chosen.address, chosen.process, chosen)
        return
    with running_server(models.repository()) as server:
        print(f"server: process {server.process_id} at {server.url}", flush=True)
        _drive(server.address, server.process_id, chosen)


def _drive(address: str, process: int, arguments: argparse.Namespace) -> None:
    for count in arguments.sessions:
        requests = native.prepare(address, count)
        seen = wrk.replay(address, requests, arguments.seconds, process)
        print(
            f"{count:3} sessions: {seen.requests_per_second:8,.0f} steps/s, median {seen.median_ms:.2f} ms, "
            f"99 % {seen.p99_ms:.2f} ms, server {seen.server.cores:.2f} cores, wrk {seen.generator_cores:.2f}",
            flush=True,
        )
