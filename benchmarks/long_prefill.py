"""How much longer do one-step sessions wait while another session takes in 10,000 steps at a time?

`wrk` drives 64 one-step sessions, alone and then beside a client that sends one long message after another: as JSON
over HTTP, and as one binary WebSocket frame. They are measured in turn, so that ratios are of the same minutes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence

from benchmarks import long_client, models, native, wrk
from benchmarks.server import running_server
from benchmarks.table import print_table, rate, ratio

CLIENTS: dict[str, long_client.Protocol] = {
    "beside JSON over HTTP": long_client.json_over_http,
    "beside binary WebSocket frames": long_client.binary_frames,
}
ALONE = "alone"


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks long_prefill", description=__doc__)
    parser.add_argument("--sessions", type=int, default=64)
    parser.add_argument("--steps", type=int, default=10_000, help="of the long message")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    chosen = parser.parse_args(arguments)
    if not wrk.is_installed():
        print(f"long_prefill is {wrk.MISSING}", file=sys.stderr)
        return
    loads: dict[str, list[wrk.Load]] = {}
    long_rates: dict[str, list[float]] = {}
    with running_server(models.repository()) as server:
        requests = native.prepare(server.address, chosen.sessions)

        def one_step_load() -> wrk.Load:
            return wrk.replay(server.address, requests, chosen.seconds, server.process_id)

        one_step_load()
        for _ in range(chosen.rounds):
            loads.setdefault(ALONE, []).append(one_step_load())
            for name, protocol in CLIENTS.items():
                with long_client.sending(protocol, server.address, chosen.steps) as long_rate:
                    loads.setdefault(name, []).append(one_step_load())
                    long_rates.setdefault(name, []).append(long_rate())
    _print(f"{chosen.sessions} one-step sessions beside messages of {chosen.steps:,} steps", loads, long_rates)


def _print(title: str, loads: dict[str, list[wrk.Load]], long_rates: dict[str, list[float]]) -> None:
    alone = _p99(loads[ALONE])
    print_table(
        f"{title}, LSTM-128",
        ["one-step sessions", "steps/s", "median ms", "99 % ms", "of alone", "long steps/s", "server cores"],
        [
            (
                name,
                rate(statistics.median(load.requests_per_second for load in seen)),
                f"{statistics.median(load.median_ms for load in seen):.2f}",
                f"{_p99(seen):.2f}",
                ratio(_p99(seen) / alone),
                rate(statistics.median(long_rates[name])) if name in long_rates else "",
                ratio(statistics.median(load.server.cores for load in seen)),
            )
            for name, seen in loads.items()
        ],
    )


def _p99(seen: list[wrk.Load]) -> float:
    return statistics.median(load.p99_ms for load in seen)
