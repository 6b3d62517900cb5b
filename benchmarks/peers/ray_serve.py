"""Ray Serve, a deployment of one replica behind its HTTP proxy."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.models import QUANTILES, peers_graph
from benchmarks.peers.environment import python
from benchmarks.peers.peer import APPS, Launch, Peer
from benchmarks.routes import Route, implicit_sessions


def launch(packages: Path, folder: Path, port: int) -> Launch:
    variables = {
        "BENCHMARK_GRAPH": str(peers_graph()),
        "BENCHMARK_PORT": str(port),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    }
    return Launch([python(packages), str(APPS / "ray_app.py")], variables)


PEER = Peer(
    key="ray",
    name="Ray Serve",
    packages=("ray[serve]==2.60.0", "numpy==2.4.6", "onnxruntime==1.31.1"),
    launch=launch,
    routes=(
        Route(
            "JSON",
            implicit_sessions(lambda _: "/", lambda number, x: {"session": number, "x": x}),
            lambda body: json.loads(body)["y"][:QUANTILES],
        ),
    ),
)
