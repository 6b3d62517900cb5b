"""What becomes of latency and of what is got done when clients ask for four times as much as the server can carry?

First some clients that send one request after the other find what the server can do at most. Then requests are sent
when they are due, at a multiple of that rate, whatever became of those before (see `open_loop`): those that are
accepted must take no longer than at the peak, the rest must be told 429 at once, and as much as before must get done.
A few sessions that take one step at a time go on beside it all.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import uvloop

from benchmarks import models, native
from benchmarks.models import COVARIATES, TEXT_GENERATOR
from benchmarks.open_loop import Seen, in_turn, offer
from benchmarks.plain_http import prepared
from benchmarks.processes import resident_bytes
from benchmarks.server import ServerProcess, running_server
from benchmarks.table import print_table, rate, ratio

_NEIGHBOURS = 4
_PAUSE_S = 0.02


@dataclass
class Load:
    """One stretch of load: the flood, the sessions beside it, and the server's memory before and after in MiB."""

    name: str
    flood: Seen
    neighbours: Seen
    before: float
    after: float

    @property
    def done_per_second(self) -> float:
        return self.flood.in_time / self.flood.seconds


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks overload", description=__doc__)
    parser.add_argument("--times", type=float, nargs="+", default=[1.0, 2.0, 4.0], help="of the peak, to send")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--peak-seconds", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=64, help="that find the peak")
    parser.add_argument("--journal", default="memory:")
    chosen = parser.parse_args(arguments)
    uvloop.install()
    for title, requests_of in (("text of 1,000 characters", texts), ("forecast 24 steps, 100 paths", forecasts)):
        with running_server(models.repository(), "--journal", chosen.journal) as server:
            loads = asyncio.run(measure(server, requests_of, chosen))
        _print(title, loads)


async def measure(
    server: ServerProcess, requests_of: Callable[[str, int], list[bytes]], chosen: argparse.Namespace
) -> list[Load]:
    """The peak, and then each multiple of it."""
    beside = native.prepare(server.address, _NEIGHBOURS)
    requests = requests_of(server.address, chosen.clients)
    await in_turn(server.address, requests, 1.0)
    loads = [await _beside(f"{chosen.clients} in turn", server, beside, in_turn(*_peak(server, requests, chosen)))]
    peak = loads[0].done_per_second
    many = requests_of(server.address, 1000)
    for times in chosen.times:
        flood = offer(server.address, many, times * peak, chosen.seconds)
        loads.append(await _beside(f"{times:g} × the peak", server, beside, flood))
    return loads


def _peak(server: ServerProcess, requests: list[bytes], chosen: argparse.Namespace) -> tuple[str, list[bytes], float]:
    return server.address, requests, chosen.peak_seconds


async def _beside(name: str, server: ServerProcess, beside: list[bytes], flood: object) -> Load:
    before = resident_bytes(server.process_id) / 2**20
    task = asyncio.ensure_future(flood)  # type: ignore[call-overload]
    neighbours = Seen(0.0)
    while not task.done():
        part = await in_turn(server.address, beside, 0.5, _PAUSE_S)
        for status, seconds in part.by_status.items():
            neighbours.by_status.setdefault(status, []).extend(seconds)
    return Load(name, await task, neighbours, before, resident_bytes(server.process_id) / 2**20)


def texts(address: str, count: int) -> list[bytes]:
    """For each of so many sessions, the next thousand characters of its text."""
    body = json.dumps({"text": "to be or not to be, " * 50}).encode()
    sessions = native.open_sessions(address, count, TEXT_GENERATOR)
    return [prepared(f"/v1/sessions/{session}/observe", body) for session in sessions]


def forecasts(address: str, count: int) -> list[bytes]:
    """For each of so many sessions, a forecast by a hundred sample paths."""
    known = {name: [0.5] * 24 for name in COVARIATES}
    body = json.dumps({"horizon": 24, "samples": 100, "quantiles": [0.1, 0.9], "future_covariates": known}).encode()
    return [prepared(f"/v1/sessions/{session}/forecast", body) for session in native.open_sessions(address, count)]


def _print(title: str, loads: Sequence[Load]) -> None:
    peak = loads[0].done_per_second
    rows = []
    for load in loads:
        flood = load.flood
        rows.append(
            (
                *(load.name, rate(flood.offered / flood.seconds), rate(load.done_per_second)),
                *(ratio(load.done_per_second / peak), *percentiles(flood.accepted)),
                *(rate(len(flood.refused) / flood.seconds), *percentiles(flood.refused)),
                *(sum(flood.others.values()) + flood.unanswered, percentiles(load.neighbours.accepted)[1]),
                f"{load.before:.0f} → {load.after:.0f}",
            )
        )
    columns = ("load", "sent/s", "done/s", "of peak", "median ms", "99 % ms", "429/s", "median ms", "99 % ms")
    print_table(f"Overload: {title}", (*columns, "others", "one step beside, 99 % ms", "MiB"), rows)


def percentiles(seconds: Sequence[float]) -> tuple[str, str]:
    """Median and 99th percentile in milliseconds."""
    if len(seconds) < 2:
        return "–", "–"
    return f"{1e3 * statistics.median(seconds):.1f}", f"{1e3 * statistics.quantiles(seconds, n=100)[98]:.1f}"
