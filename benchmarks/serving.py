"""Steps per second of the service against the floor under it: a bare onnxruntime loop on the same graph.

The floor keeps the rows in one array and runs the graph for all sessions at once, with no server, no queue, no
positions and no answers. Everything above it is what serving costs: protocol, order, scheduling, journal. Server and
clients share the machine's cores, in two processes.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time

import numpy as np
import onnxruntime

from benchmarks import clients
from benchmarks.clients import Drive, Measured
from benchmarks.server import ROOT, running_server
from service.contract.manifest import Manifest, load_manifest

MODEL = "pjm-load"
SESSIONS = (1, 16, 64)
SECONDS = 4.0
ROUTES: dict[str, Drive] = {
    "HTTP, JSON": clients.http_json,
    "WebSocket, JSON": clients.websocket_json,
    "WebSocket, binary": clients.websocket_binary,
    "WebSocket, binary, 64 steps a frame": clients.websocket_binary_64,
}


def main() -> None:
    manifest = load_manifest(ROOT / "models" / MODEL / "1")
    print(f"\n## One session step at a time: {MODEL}, {manifest.cell}, state of {manifest.state.width} numbers\n")
    print("| route | sessions | steps/s | of the floor | median ms | 99 % ms |")
    print("|---|---|---|---|---|---|")
    floors = {sessions: floor(manifest, sessions, SECONDS) for sessions in SESSIONS}
    for sessions, rate in floors.items():
        print(f"| bare onnxruntime loop (the floor) | {sessions} | {rate:,.0f} | 1 | {1000 * sessions / rate:.3f} | |")
    with running_server() as server:
        for route in ROUTES:
            for sessions in SESSIONS:
                seen = _in_another_process(route, server.address, sessions)
                ratio = seen.steps_per_second / floors[sessions]
                print(
                    f"| {route} | {sessions} | {seen.steps_per_second:,.0f} | {ratio:.3f} "
                    f"| {seen.median_ms:.2f} | {seen.p99_ms:.2f} |",
                    flush=True,
                )


def floor(manifest: Manifest, sessions: int, seconds: float) -> float:
    """Steps per second of a bare loop over the model's `observe` graph, all sessions in one run, one thread."""
    folder = ROOT / "models" / manifest.name / str(manifest.version)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    graph = onnxruntime.InferenceSession(folder / manifest.graphs["observe"].file, options)
    initial = onnxruntime.InferenceSession(folder / manifest.graphs["initial"].file, options)
    batch = max(sessions, manifest.minimum_batch)
    feeds = {
        tensor.name: np.full([batch if e == "B" else 1 if e == "T" else e for e in tensor.shape], 0.5, tensor.dtype)
        for tensor in manifest.graphs["observe"].inputs
    }
    feeds["state"] = np.tile(initial.run(["state"], {})[0], (batch, 1))
    steps, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        _, feeds["state"] = graph.run(["quantiles", "next_state"], feeds)
        steps += sessions
    return steps / (time.perf_counter() - started)


def _in_another_process(route: str, address: str, sessions: int) -> Measured:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (route, address, sessions))


def _measure(route: str, address: str, sessions: int) -> Measured:
    return asyncio.run(clients.measure(ROUTES[route], address, MODEL, sessions, SECONDS))
