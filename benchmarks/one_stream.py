"""How long does one stream wait for one step over WebSocket, above what the graph alone takes?

A blocking client over a bare socket sends one step, waits for the answer, and sends the next. Beside it, in the same
round, the bare graph runs one step of one session in this process, one after another.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks import floor, models, native
from benchmarks.bare_stream import BareStream
from benchmarks.processes import Usage, watched
from benchmarks.server import running_server
from benchmarks.table import print_table, ratio

WARM_UP = 500
Percentiles = tuple[float, float]
"""Median and 99th percentile, in microseconds."""


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks one_stream", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5000)
    chosen = parser.parse_args(arguments)
    bare: list[Percentiles] = []
    served: list[Percentiles] = []
    usages: list[Usage] = []
    with running_server(models.repository()) as server:
        (session,) = native.open_sessions(server.address, 1)
        with BareStream(server.address, session, steps=1) as stream:
            for _ in range(chosen.rounds):
                bare.append(_timed(floor.stepper(), chosen.steps))
                with watched(server.process_id) as usage:
                    served.append(_timed(stream.step, chosen.steps))
                usages.append(usage)
    (graph, graph_99), (stream_median, stream_99) = _medians(bare), _medians(served)
    print_table(
        "One stream, one step at a time, LSTM-128",
        ["", "median µs", "99 % µs", "server cores"],
        [
            ("the graph in this process", f"{graph:.0f}", f"{graph_99:.0f}", ""),
            ("WebSocket, binary", f"{stream_median:.0f}", f"{stream_99:.0f}", ratio(_median_cores(usages))),
            ("above the graph", f"{stream_median - graph:.0f}", f"{stream_99 - graph_99:.0f}", ""),
        ],
    )


def _timed(step: Callable[[], None], count: int) -> Percentiles:
    for _ in range(WARM_UP):
        step()
    times = np.empty(count)
    for index in range(count):
        started = time.perf_counter()
        step()
        times[index] = time.perf_counter() - started
    median, p99 = np.percentile(times * 1e6, [50, 99])
    return float(median), float(p99)


def _medians(rounds: list[Percentiles]) -> Percentiles:
    return statistics.median(median for median, _ in rounds), statistics.median(p99 for _, p99 in rounds)


def _median_cores(usages: list[Usage]) -> float:
    return statistics.median(usage.cores for usage in usages)
