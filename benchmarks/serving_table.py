"""The table of the serving benchmark: medians over rounds, ratios to the same rounds' Triton, who was saturated."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable

from benchmarks.table import print_table, rate, ratio
from benchmarks.wrk import Load

BASELINE = "Triton"
_SATURATED = 0.9
Key = tuple[str, str, int]
"""Server, route, sessions."""
Loads = dict[Key, list[Load]]
Floors = dict[int, list[float]]
"""In-process steps per second, by sessions."""


def print_serving(loads: Loads, floors: Floors) -> None:
    columns = ["server, protocol", "sessions", "steps/s", "of Triton", "of the floor", "median ms", "99 % ms"]
    columns += ["server CPU µs/step", "server cores", "wrk cores", "saturated"]
    floor_rows = [
        ("the graph in this process (the floor)", count, rate(statistics.median(rates)), "", 1, "", "", "", "", "", "")
        for count, rates in floors.items()
    ]
    print_table(
        "One-step requests, LSTM-128",
        columns,
        [*floor_rows, *(_row(key, loads, floors) for key in loads)],
    )


def _row(key: Key, loads: Loads, floors: Floors) -> list[object]:
    name, route, count = key
    seen = loads[key]
    best = max((_rate(found) for found in _baselines(key, loads)), default=0.0)
    return [
        f"{name}, {route}",
        count,
        rate(_rate(seen)),
        ratio(_rate(seen) / best) if best else "",
        f"{_rate(seen) / statistics.median(floors[count]):.3f}",
        f"{_median(seen, lambda load: load.median_ms):.2f}",
        f"{_median(seen, lambda load: load.p99_ms):.2f}",
        rate(_median(seen, lambda load: 1e6 * load.server.cores / load.requests_per_second)),
        ratio(_median(seen, lambda load: load.server.cores)),
        ratio(_median(seen, lambda load: load.generator_cores)),
        _saturated(seen),
    ]


def _baselines(key: Key, loads: Loads) -> list[list[Load]]:
    """Triton's loads to compare with: by the same protocol where it has it, else its best."""
    _, route, count = key
    of_triton = {other: found for other, found in loads.items() if other[0] == BASELINE and other[2] == count}
    same = of_triton.get((BASELINE, route, count))
    return [same] if same else list(of_triton.values())


def _saturated(seen: list[Load]) -> str:
    machine = _median(seen, lambda load: load.server.machine)
    others = machine - _median(seen, lambda load: load.server.cores + load.generator_cores)
    cores = os.cpu_count() or 1
    who = []
    if machine > _SATURATED * cores:
        who.append("all cores")
    if _median(seen, lambda load: load.server.busiest_thread) > _SATURATED:
        who.append("a thread of the server")
    if others > 0.1 * cores:
        who.append(f"(other processes used {others:.1f} cores)")
    return " ".join(who) or "nobody"


def _rate(seen: list[Load]) -> float:
    return _median(seen, lambda load: load.requests_per_second)


def _median(seen: list[Load], value: Callable[[Load], float]) -> float:
    return statistics.median(map(value, seen))
