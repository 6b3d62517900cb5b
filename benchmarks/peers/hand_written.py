"""The server that anyone writes in an afternoon: FastAPI, pydantic, and a dictionary of states."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.models import QUANTILES, peers_graph
from benchmarks.peers.environment import python
from benchmarks.peers.peer import APPS, Launch, Peer
from benchmarks.routes import Route, implicit_sessions

APP = "hand_written_app"


def launch(packages: Path, folder: Path, port: int) -> Launch:
    command = [python(packages), "-m", "uvicorn", f"{APP}:app", "--app-dir", str(APPS), "--port", str(port)]
    return Launch([*command, "--log-level", "warning"], {"BENCHMARK_GRAPH": str(peers_graph())})


PEER = Peer(
    key="hand-written",
    name="hand-written FastAPI",
    packages=("fastapi==0.163.2", "numpy==2.4.6", "onnxruntime==1.31.1", "uvicorn[standard]==0.54.0"),
    launch=launch,
    routes=(
        Route(
            "JSON",
            implicit_sessions(lambda number: f"/sessions/{number}/step", lambda _, x: {"x": x}),
            lambda body: json.loads(body)["y"][:QUANTILES],
        ),
    ),
)
