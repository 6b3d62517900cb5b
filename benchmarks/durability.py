"""What does it cost that sessions are kept? One-step requests over HTTP, by journal and durability.

Each round starts every server anew with the same model and `wrk` replays one request for each session, every session
on a connection of its own; the table tells medians over rounds, and each rate beside that of `none` in its round. A
Valkey or Redis server is started where one is installed, on a file of its own, with every write on the disk before
it is acknowledged.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks import models, native, wrk
from benchmarks.free_port import free_port
from benchmarks.server import running_server
from benchmarks.table import print_table, rate, ratio

WARM_UP_SECONDS = 1
_START_SECONDS = 10.0


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks durability", description=__doc__)
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--folder", type=Path, help="where the journals lie; a temporary folder if left out")
    chosen = parser.parse_args(arguments)
    if not wrk.is_installed():
        print(f"durability is {wrk.MISSING}", file=sys.stderr)
        return
    loads: dict[tuple[str, str, int], list[wrk.Load]] = {}
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder, _valkey(Path(folder)) as valkey:
        ways = [("memory", "memory:", "none")]
        ways += [("SQLite", f"sqlite://{folder}/sessions.db", how) for how in ("none", "async", "sync")]
        ways += [("Valkey", valkey, "sync")] if valkey else []
        for _ in range(chosen.rounds):
            for name, location, durability in ways:
                for count, load in _measure(location, durability, chosen.sessions, chosen.seconds):
                    loads.setdefault((name, durability, count), []).append(load)
    _print(loads)


def _measure(location: str, durability: str, sessions: Sequence[int], seconds: int) -> Iterator[tuple[int, wrk.Load]]:
    with running_server(models.repository(), "--journal", location, "--durability", durability) as server:
        for count in sessions:
            requests = native.prepare(server.address, count)
            wrk.replay(server.address, requests, WARM_UP_SECONDS, server.process_id)
            yield count, wrk.replay(server.address, requests, seconds, server.process_id)


def _print(loads: dict[tuple[str, str, int], list[wrk.Load]]) -> None:
    rows = []
    for (name, durability, count), seen in loads.items():
        base = loads["SQLite", "none", count]
        shares = [one.requests_per_second / other.requests_per_second for one, other in zip(seen, base, strict=True)]
        figures = (
            rate(median(one.requests_per_second for one in seen)),
            ratio(median(shares)),
            f"{median(one.median_ms for one in seen):.2f}",
            f"{median(one.p99_ms for one in seen):.2f}",
            f"{median(one.server.cores for one in seen):.2f}",
            f"{median(one.generator_cores for one in seen):.2f}",
        )
        rows.append((name, durability, count, *figures))
    columns = ("journal", "durability", "sessions", "steps/s", "of none", "median ms", "99 % ms", "server cores", "wrk")
    print_table("What it costs that sessions are kept", columns, rows)


@contextmanager
def _valkey(folder: Path) -> Iterator[str | None]:
    """The location of a server that keeps what it acknowledges, or None where none is installed."""
    program = shutil.which("valkey-server") or shutil.which("redis-server")
    if program is None:
        print("Valkey is left out: neither valkey-server nor redis-server is installed", file=sys.stderr)
        yield None
        return
    port = free_port()
    command = [program, "--port", str(port), "--dir", str(folder), "--save", ""]
    command += ["--appendonly", "yes", "--appendfsync", "always"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            _wait_for(port)
            yield f"valkey://127.0.0.1:{port}/0"
        finally:
            process.terminate()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
