"""How long does one session wait beside a thousand of somebody else's?

A crowd sends one request after the other for each of its sessions, as fast as it is answered, and a neighbour takes one
step every few milliseconds: once with the crowd's own API key, so that the two are one owner, and once with another.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPResponse
from multiprocessing.synchronize import Event
from pathlib import Path

import uvloop

from benchmarks import models
from benchmarks.inputs import step_inputs
from benchmarks.models import COVARIATES, FORECASTER
from benchmarks.open_loop import Seen, in_turn
from benchmarks.overload import percentiles
from benchmarks.plain_http import prepared, send
from benchmarks.server import running_server
from benchmarks.table import print_table, rate
from service.access.keys import ApiKey, digest_of, draw_key, write_keys

_PAUSE_S = 0.005
_WARM_S = 3.0
"""Until the crowd is there whole."""
CROWD, NEIGHBOUR = "crowd", "neighbour"


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks neighbour", description=__doc__)
    parser.add_argument("--sessions", type=int, default=1000, help="of the crowd")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 500], help="in each request of the crowd")
    chosen = parser.parse_args(arguments)
    uvloop.install()
    with tempfile.TemporaryDirectory() as folder, keyed_server(Path(folder)) as (address, keys):
        crowd = opened(address, keys[CROWD], "crowd", chosen.sessions)
        # Opened before the crowd comes, and kept: how long connecting takes beside it is another question.
        single = {
            name: Single(address, observing(key, opened(address, key, "single", 1), 1)[0]) for name, key in keys.items()
        }
        rows = [("nobody", *_told(single[NEIGHBOUR].step(chosen.seconds), None))]
        for steps in chosen.steps:
            requests = observing(keys[CROWD], crowd, steps)
            for name in (CROWD, NEIGHBOUR):
                with crowding(address, requests, chosen.seconds) as seen:
                    neighbour = single[name].step(chosen.seconds)
                whose = "the same key" if name == CROWD else "another key"
                beside = f"{chosen.sessions} sessions of {whose}, {steps} steps a request"
                rows.append((beside, *_told(neighbour, seen[0])))
    columns = ("beside", "neighbour's steps/s", "median ms", "99 % ms", "refused", "crowd's requests/s", "refused/s")
    print_table("One session beside a crowd: HTTP, 2-layer LSTM-128", columns, rows)


@contextmanager
def keyed_server(folder: Path, repository: Path | None = None) -> Iterator[tuple[str, dict[str, str]]]:
    """The address of a server that two keys may use, and the keys; it has the benchmarks' models if no others."""
    keys = {name: draw_key() for name in (CROWD, NEIGHBOUR)}
    entries = [
        ApiKey(name=name, rights=["sessions"], sha256=digest_of(key.encode()).hex()) for name, key in keys.items()
    ]
    write_keys(folder / "keys.toml", entries)
    with running_server(repository or models.repository(), "--api-keys", str(folder / "keys.toml")) as server:
        yield server.address, keys


def opened(address: str, key: str, name: str, count: int, model: str = FORECASTER) -> list[str]:
    """The ids of new sessions of a key."""
    ids = [f"{name}{number}" for number in range(count)]
    for start in range(0, count, 256):
        body = [{"model": model, "id": session} for session in ids[start : start + 256]]
        send(address, _keyed(key, "/v1/sessions", body))
    return ids


def observing(key: str, sessions: Sequence[str], steps: int, covariates: Sequence[str] = COVARIATES) -> list[bytes]:
    """For each session a request that takes in so many steps."""
    value, *numbers = step_inputs(0)
    known = {name: [number] * steps for name, number in zip(covariates, numbers, strict=False)}
    body = {"values": [value] * steps, "future_covariates": known}
    return [_keyed(key, f"/v1/sessions/{session}/observe", body) for session in sessions]


def _keyed(key: str, path: str, body: object) -> bytes:
    return prepared(path, json.dumps(body).encode(), {"authorization": f"Bearer {key}"})


class Single:
    """A session that takes one step after the other over a connection of its own."""

    def __init__(self, address: str, request: bytes) -> None:
        host, port = address.split(":")
        self._connection = socket.create_connection((host, int(port)), timeout=60)
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = request

    def close(self) -> None:
        self._connection.close()

    def step(self, seconds: float) -> Seen:
        """Step for so long, with a pause after each."""
        seen = Seen(seconds)
        until = time.perf_counter() + seconds
        while (due := time.perf_counter()) < until:
            self._connection.sendall(self._request)
            answer = HTTPResponse(self._connection, method="POST")
            answer.begin()
            answer.read()
            seen.by_status.setdefault(answer.status, []).append(time.perf_counter() - due)
            time.sleep(_PAUSE_S)
        return seen


@contextmanager
def crowding(address: str, requests: Sequence[bytes], seconds: float) -> Iterator[list[Seen]]:
    """A crowd in a process of its own, which has begun and goes on for longer than this; at the end, what it saw."""
    spawn = multiprocessing.get_context("spawn")
    seen: multiprocessing.SimpleQueue[Seen] = spawn.SimpleQueue()
    begun = spawn.Event()
    process = spawn.Process(target=_crowd, args=(address, requests, seconds + 2 * _WARM_S, begun, seen))
    process.start()
    begun.wait()
    told: list[Seen] = []
    try:
        yield told
    finally:
        told.append(seen.get())  # before its end: what it has to tell is more than a pipe holds
        process.join()


def _crowd(
    address: str, requests: Sequence[bytes], seconds: float, begun: Event, seen: multiprocessing.SimpleQueue[Seen]
) -> None:
    uvloop.install()

    async def run() -> Seen:
        asyncio.get_running_loop().call_later(_WARM_S, begun.set)
        return await in_turn(address, requests, seconds)

    seen.put(asyncio.run(run()))


def _told(neighbour: Seen, crowd: Seen | None) -> tuple[object, ...]:
    own = (rate(len(neighbour.accepted) / neighbour.seconds), *percentiles(neighbour.accepted), len(neighbour.refused))
    if crowd is None:
        return (*own, "–", "–")
    return (*own, rate(len(crowd.accepted) / crowd.seconds), rate(len(crowd.refused) / crowd.seconds))


if __name__ == "__main__":
    main()
