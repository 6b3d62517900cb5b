"""Far more sessions than memory holds: all of them opened and stepped on SQLite, and then asked at random.

One server with its usual bound on rows in memory; every session is opened, takes a step, and leaves memory when others
come. Then single steps over one connection: to sessions that were never asked since (cold, their rows come back from
the file), and to those same ones once more (warm); and `wrk` visits all of them at random. The most memory the server
ever had is what the kernel says (VmHWM).
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

from benchmarks import models, native, wrk
from benchmarks.server import running_server
from benchmarks.table import print_table, rate

_CONNECTIONS = 64
_SINGLE_STEPS = 2000
_OPENERS, _PIECE, _TOLD_EVERY = 4, 1024, 50


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks stored_sessions", description=__doc__)
    parser.add_argument("--sessions", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=int, default=10, help="of visits at random")
    parser.add_argument(
        "--folder", type=Path, help="where the file is to lie, of about 5 GB; a temporary one if left out"
    )
    chosen = parser.parse_args(arguments)
    with (
        tempfile.TemporaryDirectory(dir=chosen.folder) as folder,
        running_server(models.repository(), "--journal", f"sqlite://{folder}/sessions.db") as server,
    ):
        seconds = _open_all(server.address, chosen.sessions)
        opened = peak_bytes(server.process_id)
        cold, warm = _one_by_one(server.address, chosen.sessions)
        visits = _visits(server.address, chosen.sessions, chosen.seconds, server.process_id)
        peak = peak_bytes(server.process_id)
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
    rows = [
        ("opened and stepped", f"{chosen.sessions:,} in {seconds:.0f} s, {rate(chosen.sessions / seconds)} a second"),
        ("most memory until then, and in all", f"{opened / 2**20:,.0f} MiB, {peak / 2**20:,.0f} MiB"),
        ("files", f"{size / 2**20:,.0f} MiB, {size / chosen.sessions:,.0f} bytes a session"),
        ("one step, cold / warm, median", f"{cold:.2f} / {warm:.2f} ms: restoring adds {cold - warm:.2f} ms"),
        ("random visits", visits),
    ]
    print_table(f"{chosen.sessions:,} sessions of an LSTM-128 in a file", ("what", "figure"), rows)


def peak_bytes(process: int) -> int:
    """The most memory that a process has had."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def _open_all(address: str, sessions: int) -> float:
    started = time.perf_counter()
    pieces = [(first, min(first + _PIECE, sessions)) for first in range(0, sessions, _PIECE)]
    with ThreadPoolExecutor(_OPENERS) as openers:
        opened = openers.map(lambda piece: native.open_numbered(address, piece[1], start=piece[0]), pieces)
        for done, _ in enumerate(opened, 1):
            if done % _TOLD_EVERY == 0:
                passed = time.perf_counter() - started
                print(f"{pieces[done - 1][1]:,} sessions after {passed:.0f} s", file=sys.stderr, flush=True)
    return time.perf_counter() - started


def _one_by_one(address: str, sessions: int) -> tuple[float, float]:
    """Median milliseconds of a step, cold and warm."""
    # The first ones left memory first.
    chosen = random.Random(0).sample(range(sessions // 2), min(_SINGLE_STEPS, sessions // 4))
    connection = HTTPConnection(address, timeout=20)
    try:
        return _median_ms(connection, chosen), _median_ms(connection, chosen)
    finally:
        connection.close()


def _median_ms(connection: HTTPConnection, sessions: Sequence[int]) -> float:
    body = native.numbered_request().partition(b"\r\n\r\n")[2]
    taken = []
    for number in sessions:
        started = time.perf_counter()
        connection.request("POST", f"/v1/sessions/s{number}/observe", body, {"content-type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        taken.append(time.perf_counter() - started)
        if answer.status != 200:
            raise RuntimeError(f"session s{number}: {answer.status} {content[:200]!r}")
    return 1000 * statistics.median(taken)


def _visits(address: str, sessions: int, seconds: int, process: int) -> str:
    if not wrk.is_installed():
        return wrk.MISSING
    load = wrk.visit(address, native.numbered_request(), sessions, _CONNECTIONS, seconds, process)
    return f"{rate(load.requests_per_second)} steps/s, 99 % {load.p99_ms:.1f} ms"
