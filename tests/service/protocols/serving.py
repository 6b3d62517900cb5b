"""A real server for protocol tests: uvicorn as it is served, on a port of its own, in a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

from service.contract.manifest import StaticCovariate
from service.protocols.context import Context
from service.server import make_server
from service.settings import Settings
from tests import known_models

CALENDAR_SUM = "calendar-sum"
COVARIATE_SUM = "covariate-sum"
STATIC_SUM = "static-sum"
SCORED_SUM = "scored-sum"
DIRECT_SUM = "direct-sum"
COUNTED_SUM = "counted-sum"


@dataclass(frozen=True)
class Served:
    """A running server and a client of it."""

    url: str
    context: Context
    client: httpx.Client
    stop: Callable[[], None]
    """Asks it to stop, as a signal does."""

    @property
    def grpc_address(self) -> str:
        return f"127.0.0.1:{self.context.ports['grpc']}"

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        return self.client.post(path, json=body, headers=headers)

    def open(self, model: str = known_models.RUNNING_SUM, **more: Any) -> str:
        """Open a session and return its id."""
        answer = self.post("/v1/sessions", {"model": model, **more})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def observe(self, session_id: str, **body: Any) -> Any:
        """Observe, and return the answer's JSON."""
        answer = self.post(f"/v1/sessions/{session_id}/observe", body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def position(self, session_id: str) -> int:
        return int(self.client.get(f"/v1/sessions/{session_id}").json()["position"])

    def stream(self, session_id: str) -> ClientConnection:
        """A WebSocket to a session."""
        return connect(f"{self.url.replace('http', 'ws')}/v1/sessions/{session_id}/stream", compression=None)


def write_models(folder: Path) -> Path:
    """A repository with a model of every kind the protocols treat differently."""
    known_models.running_sum(folder)
    known_models.next_token(folder)
    known_models.running_sum(folder, name=CALENDAR_SUM, calendar=["hour_of_day"])
    known_models.running_sum(folder, name=COVARIATE_SUM, future_covariates=["temperature"])
    known_models.running_sum(folder, name=STATIC_SUM, static_covariates=[StaticCovariate(name="level")])
    known_models.running_sum(folder, name=SCORED_SUM, scored=True, anomaly_threshold=0.5)
    known_models.running_sum(folder, name=DIRECT_SUM, path_correlation=0.5, prefills=True)
    season = (StaticCovariate(name="season"),)
    known_models.running_sum(folder, name=COUNTED_SUM, frequency=None, static_covariates=season, path_correlation=0.5)
    return folder


@contextmanager
def serve(models: Path, **chosen: Any) -> Iterator[Served]:
    """Serve the models of a folder with these settings until the context ends."""
    started = threading.Event()
    found: list[tuple[Context, int]] = []

    def on_start(context: Context, port: int) -> None:
        found.append((context, port))
        started.set()

    local: dict[str, Any] = {"port": 0, "grpc_port": -1, "device": "cpu", "journal": "memory:"}
    settings = {"models": models, **local, **chosen}
    server = make_server(Settings(**settings), on_start)
    thread = threading.Thread(target=server.run, name="server", daemon=True)
    thread.start()
    assert started.wait(60), "the server did not start"
    context, port = found[0]
    url = f"http://127.0.0.1:{port}"

    def stop() -> None:
        server.should_exit = True

    try:
        with httpx.Client(base_url=url, timeout=30) as client:
            yield Served(url, context, client, stop)
    finally:
        stop()
        thread.join(30)
        assert not thread.is_alive(), "the server did not stop"
