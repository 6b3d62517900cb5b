"""The server that is fuzzed: a process of its own, which is watched, and whose sessions and models are put back."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.processes import resident_bytes
from benchmarks.server import running_server
from tests.fuzz import seeds
from tests.service.protocols.serving import write_models

SNAPSHOT_KEY = "a key for fuzzing alone"
_PUT_BACK_S = 0.2
_COMPLAINTS = ("unexpected error", "Traceback", '"level": "error"')
"""In the log, they tell of something that nobody had thought of."""

_COUNTED = "unroll_requests_total"
_FAILED = re.compile(r'status="5(?!03)\d\d"|method="GRPC".*status="(?:2|13|15)"')
"""Statuses of HTTP and WebSocket, and gRPC's UNKNOWN, INTERNAL and DATA_LOSS."""


@dataclass
class FuzzedServer:
    """A server that takes requests."""

    address: str
    grpc_address: str
    process: subprocess.Popen[str]
    log: Path
    snapshot: bytes = b""

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def resident_mib(self) -> float:
        return resident_bytes(self.process.pid) / 2**20

    def complaints(self) -> list[str]:
        """Lines of the log that tell of something unexpected."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if any(mark in line for mark in _COMPLAINTS)]

    def own_failures(self) -> list[str]:
        """What the server itself has counted as its own fault: lines of its metrics."""
        metrics = httpx.get(f"{self.url}/metrics", timeout=30).text
        return [line for line in metrics.splitlines() if line.startswith(_COUNTED) and _FAILED.search(line)]

    def put_back(self, client: httpx.Client) -> None:
        """Load the models and open the sessions that inputs may have unloaded or closed."""
        for session, model in seeds.SESSIONS.items():
            answer = client.post("/v1/sessions", json={"model": model, "id": session})
            if answer.status_code == 404:
                client.post(f"/v2/repository/models/{model}/load", json={})


@contextmanager
def fuzzed_server(folder: Path) -> Iterator[FuzzedServer]:
    """A server with models, sessions and a journal of its own, which are put back while the context lasts."""
    models, log = write_models(folder / "models"), folder / "server.log"
    flags = ["--grpc-port", "0", "--device", "cpu", "--journal", f"sqlite://{folder}/sessions.db"]
    flags += ["--snapshot-key", SNAPSHOT_KEY, "--max-sessions", "500", "--session-time-to-live-s", "10"]
    flags += ["--max-time-to-live-s", "10", "--max-request-bytes", "200000", "--max-steps", "5000"]
    with log.open("wb") as stderr, running_server(models, *flags, stderr=stderr) as running:
        assert running.grpc_address is not None
        server = FuzzedServer(running.address, running.grpc_address, running.process, log)
        stopping = threading.Event()
        with httpx.Client(base_url=server.url, timeout=30) as client:
            server.put_back(client)
            server.snapshot = _snapshot(client)
            keeper = threading.Thread(target=_keep, args=(server, client, stopping))
            keeper.start()
            try:
                yield server
            finally:
                stopping.set()
                keeper.join()


def _keep(server: FuzzedServer, client: httpx.Client, stopping: threading.Event) -> None:
    while not stopping.wait(_PUT_BACK_S) and server.is_alive:
        try:
            server.put_back(client)
        except httpx.HTTPError:
            continue  # whoever fuzzes will find out why


def _snapshot(client: httpx.Client) -> bytes:
    answer = client.get(f"/v1/sessions/{seeds.FORECAST_SESSION}/snapshot")
    assert answer.status_code == 200, answer.text
    return answer.content
