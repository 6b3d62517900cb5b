"""MLServer, with the model as a custom runtime in the server's own process."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from benchmarks import inference_v2
from benchmarks.free_port import free_port
from benchmarks.models import FORECASTER, peers_graph
from benchmarks.peers.peer import APPS, Launch, Peer


def launch(packages: Path, folder: Path, port: int) -> Launch:
    settings = {"host": "127.0.0.1", "http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
    model = {"name": FORECASTER, "implementation": "mlserver_runtime.Recurrent"}
    # No workers: the states would be divided among them, and each request would cross a process boundary.
    settings |= {"parallel_workers": 0, "debug": False}
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))
    variables = {"BENCHMARK_GRAPH": str(peers_graph()), "PYTHONPATH": str(APPS), "MLSERVER_LOGGING_SETTINGS": ""}
    return Launch([str(packages / "bin" / "mlserver"), "start", str(folder)], variables)


PEER = Peer(
    key="mlserver",
    name="MLServer",
    packages=("mlserver==1.7.1", "onnxruntime==1.31.1"),
    launch=launch,
    routes=inference_v2.routes(lambda x: {"x": np.array(x, np.float32).reshape(1, 1, -1)}, ["y"])[:1],
)
