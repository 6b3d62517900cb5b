"""LitServe, one worker that runs waiting requests as one batch."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.models import QUANTILES, peers_graph
from benchmarks.peers.environment import python
from benchmarks.peers.peer import APPS, Launch, Peer
from benchmarks.routes import Route, implicit_sessions


def launch(packages: Path, folder: Path, port: int) -> Launch:
    variables = {"BENCHMARK_GRAPH": str(peers_graph()), "BENCHMARK_PORT": str(port)}
    return Launch([python(packages), str(APPS / "litserve_app.py")], variables)


PEER = Peer(
    key="litserve",
    name="LitServe",
    packages=("litserve==0.2.19", "onnxruntime==1.31.1"),
    launch=launch,
    routes=(
        Route(
            "JSON",
            implicit_sessions(lambda _: "/predict", lambda number, x: {"session": number, "x": x}),
            lambda body: json.loads(body)["y"][:QUANTILES],
        ),
    ),
)
