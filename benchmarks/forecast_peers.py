"""How long does one forecast take, beside the predict calls of GluonTS and NeuralForecast for networks of like size?

24 steps ahead with quantiles and 100 sample paths, by LSTMs of two layers of 40; our network that tells all steps at
once is a GRU of 128 over segments, as the training command makes it. Peers predict in their own process, warm, in one
thread, from 720 values that they are given each time. Unroll answers over HTTP: stateless, from the same 720 values in
the request, and from a live session, which has seen them already. Then, how long a value waits to be observed, with its
quantiles and score, by how much came before it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import numpy as np

from benchmarks.forecast_models import DIRECT, HIDDEN, HORIZON, LAYERS, SAMPLED, hourly_series, make_forecasters
from benchmarks.kept_connection import KeptConnection
from benchmarks.peers.environment import PeerUnavailable
from benchmarks.peers.forecasters import NAMES, running_forecasters
from benchmarks.plain_http import prepared
from benchmarks.server import running_server
from benchmarks.table import print_table, ratio

HISTORY, PATHS, LEVELS = 720, 100, (0.1, 0.5, 0.9)
AT_ONCE = 5000
BEGIN = "2024-01-01T00:00:00Z"
WARM_UP = 10
Key = TypeVar("Key")


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks forecast_peers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=40, help="of each kind in a round")
    parser.add_argument("--histories", type=int, nargs="+", default=[100, 10_000, 100_000])
    parser.add_argument("--without-peers", action="store_true")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        data = Path(folder) / "hourly.csv"
        values = hourly_series(data)
        server = stack.enter_context(running_server(make_forecasters(Path(folder), data)))
        connection = stack.enter_context(KeptConnection(server.address))
        ours = forecast_calls(connection, values[:HISTORY])
        calls = {name: _timer(call) for name, call in ours.items()}
        if not chosen.without_peers:
            calls = _peers(stack, data) | calls
        _print_forecasts(measured(calls, chosen.rounds, chosen.calls))
        observing = {
            (model, history): _timer(observe_call(connection, model, values, history))
            for model in (SAMPLED, DIRECT)
            for history in chosen.histories
        }
        _print_observations(measured(observing, chosen.rounds, 5 * chosen.calls), chosen.histories)


def _peers(stack: ExitStack, data: Path) -> dict[str, Callable[[int], list[float]]]:
    try:
        forecasters = stack.enter_context(running_forecasters(data, HIDDEN, LAYERS))
    except PeerUnavailable as missing:
        print(f"forecast_peers: without peers: {missing}", file=sys.stderr)
        return {}
    return {title: lambda count, name=name: forecasters.times(name, count) for name, title in NAMES.items()}  # type: ignore[misc]


def forecast_calls(connection: KeptConnection, history: np.ndarray) -> dict[str, Callable[[], bytes]]:
    """Requests for the same forecast, by what they are called in the table; each was answered once, as it should."""
    calls: dict[str, Callable[[], bytes]] = {}
    for model, how in ((SAMPLED, "sampling"), (DIRECT, "all steps at once")):
        session = _open(connection, model)
        connection.call(f"/v1/sessions/{session}/observe", {"values": history.tolist()})
        asked = {"horizon": HORIZON, "quantiles": LEVELS}
        series = {"name": "y", "type": "univariate_time_series", "series": history.tolist(), "frequency": "1h"}
        series["start_timestamp"] = BEGIN
        stateless = {"model": model, "inputs": [series], "options": asked | {"samples": PATHS}}
        live = f"/v1/sessions/{session}/forecast"
        for title, path, body in (
            (f"Unroll, {how}, stateless", "/v1/timeseries/forecast", stateless),
            (f"Unroll, {how}, live session", live, asked | {"samples": PATHS}),
            (f"Unroll, {how}, live session, quantiles alone", live, asked),
        ):
            request = prepared(path, json.dumps(body).encode())
            _check(json.loads(connection.send(request)), samples="alone" not in title)
            calls[title] = lambda request=request: connection.send(request)  # type: ignore[misc]
    return calls


def _open(connection: KeptConnection, model: str) -> str:
    return str(connection.call("/v1/sessions", {"model": model, "first_timestamp": BEGIN})["id"])


def _check(answer: dict[str, object], *, samples: bool) -> None:
    told = json.dumps(answer)
    assert '"quantiles"' in told and ('"samples"' in told) == samples, told[:300]


def observe_call(connection: KeptConnection, model: str, values: np.ndarray, history: int) -> Callable[[], bytes]:
    """A request that shows one value more to a session that has seen so many."""
    session = _open(connection, model)
    for start in range(0, history, AT_ONCE):
        some = np.resize(np.roll(values, -start), min(AT_ONCE, history - start))
        connection.call(f"/v1/sessions/{session}/observe", {"values": some.tolist()})
    request = prepared(f"/v1/sessions/{session}/observe", b'{"values":[101.5]}')
    assert {"quantiles", "anomaly_score"} <= json.loads(connection.send(request)).keys()
    return lambda: connection.send(request)


def measured(calls: dict[Key, Callable[[int], list[float]]], rounds: int, count: int) -> dict[Key, list[float]]:
    """Seconds of all calls, taken in turn, so that all are of the same minutes."""
    times: dict[Key, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call(WARM_UP)
    for _ in range(rounds):
        for name, call in calls.items():
            times[name] += call(count)
    return times


def _timer(call: Callable[[], bytes]) -> Callable[[int], list[float]]:
    def timed(count: int) -> list[float]:
        times = []
        for _ in range(count):
            started = time.perf_counter()
            call()
            times.append(time.perf_counter() - started)
        return times

    return timed


def _print_forecasts(times: dict[str, list[float]]) -> None:
    medians = {name: statistics.median(found) for name, found in times.items()}
    peers = {name: medians[name] for name in NAMES.values() if name in medians}
    print_table(
        f"One forecast, {HORIZON} steps, {PATHS} paths, LSTM {LAYERS}×{HIDDEN}",
        ["", "median ms", "99 % ms", *(f"of {name.partition(',')[0]}" for name in peers)],
        (
            (
                name,
                f"{1e3 * medians[name]:.2f}",
                f"{1e3 * float(np.percentile(found, 99)):.2f}",
                *(ratio(medians[name] / peer) for peer in peers.values()),
            )
            for name, found in times.items()
        ),
    )


def _print_observations(times: dict[tuple[str, int], list[float]], histories: Sequence[int]) -> None:
    print_table(
        "One value observed over HTTP, with quantiles and score",
        ["model", *(f"after {history:,}: median ms" for history in histories)],
        (
            (model, *(f"{1e3 * statistics.median(times[model, history]):.3f}" for history in histories))
            for model in (SAMPLED, DIRECT)
        ),
    )
