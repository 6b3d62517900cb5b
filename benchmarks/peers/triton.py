"""NVIDIA Triton: the server binary and the Python backend of the nvidia-pytriton wheel, without PyTriton itself.

The best of the configurations tried: `oldest` sequence batching, and a backend that runs onnxruntime and reads
correlation ids and flags from the requests.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np

from benchmarks import inference_v2
from benchmarks.models import FORECASTER, peers_graph
from benchmarks.peers.environment import PeerUnavailable, site_packages
from benchmarks.peers.peer import APPS, Launch, Peer


def launch(packages: Path, folder: Path, port: int) -> Launch:
    installed = site_packages(packages)
    triton = installed / "pytriton" / "tritonserver"
    binary, backends = triton / "bin" / "tritonserver", folder / "backends"
    binary.chmod(0o755)
    _backend(triton, backends / "python")
    version = folder / "models" / FORECASTER / "1"
    version.mkdir(parents=True)
    shutil.copy(APPS / "triton" / "model.py", version)
    shutil.copy(APPS / "triton" / "config.pbtxt", version.parent)
    options = [f"--model-repository={folder / 'models'}", f"--backend-directory={backends}", f"--http-port={port}"]
    return Launch(
        [str(binary), *options, "--http-address=127.0.0.1", "--allow-grpc=false", "--allow-metrics=false"],
        {
            "LD_LIBRARY_PATH": str(installed / "nvidia_pytriton.libs"),
            "BENCHMARK_PACKAGES": str(installed),
            "BENCHMARK_GRAPH": str(peers_graph()),
        },
    )


def _backend(triton: Path, folder: Path) -> None:
    """A backend folder with the stub of this Python version, in which the model runs."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = triton / "python_backend_stubs" / version / "triton_python_backend_stub"
    if not stub.exists():
        raise PeerUnavailable(f"the wheel has no backend for Python {version}")
    shutil.copytree(triton / "backends" / "python", folder)
    shutil.copy(stub, folder)
    (folder / stub.name).chmod(0o755)


PEER = Peer(
    key="triton",
    name="Triton",
    # numpy 2 would leave every output empty, without a word.
    packages=("numpy==1.26.4", "onnxruntime==1.31.1"),
    without_dependencies=("nvidia-pytriton==0.7.0",),
    launch=launch,
    routes=inference_v2.routes(lambda x: {"x": np.array(x, np.float32).reshape(1, 1, -1)}, ["y"]),
)
