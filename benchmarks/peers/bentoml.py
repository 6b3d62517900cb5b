"""BentoML, a service of one worker."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.models import QUANTILES, peers_graph
from benchmarks.peers.peer import APPS, Launch, Peer
from benchmarks.routes import Route, implicit_sessions


def launch(packages: Path, folder: Path, port: int) -> Launch:
    command = [str(packages / "bin" / "bentoml"), "serve", "bentoml_app:Recurrent", "--working-dir", str(APPS)]
    variables = {
        "BENCHMARK_GRAPH": str(peers_graph()),
        "BENTOML_DO_NOT_TRACK": "1",
        "BENTOML_HOME": str(folder),
        "PATH": f"{packages / 'bin'}:/usr/bin:/bin",
    }
    return Launch([*command, "--host", "127.0.0.1", "--port", str(port)], variables)


PEER = Peer(
    key="bentoml",
    name="BentoML",
    packages=("bentoml==1.4.39", "onnxruntime==1.31.1"),
    launch=launch,
    routes=(
        Route(
            "JSON",
            implicit_sessions(lambda _: "/step", lambda number, x: {"session": number, "x": x}),
            lambda body: json.loads(body)[:QUANTILES],
        ),
    ),
)
