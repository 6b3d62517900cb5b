"""Clients that take sessions through whatever happens: each sends one step after the other, again until it is answered.

Every step carries the position that the client expects, so that it is applied once however often it is sent. What was
answered is kept, to be compared with an uninterrupted run.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from tests.compose.stack import Failed

FIRST_TIMESTAMP = "2024-07-29T04:00:00"
SERIES_MODEL, TEXT_MODEL = "pjm-load", "shakespeare"
_PAUSE_S = 0.02
_BEFORE_RETRY_S = 0.1
_PATIENCE_S = 90.0
_AGAIN = (429, 502, 503, 504)
_CONFLICTS = ("position_conflict", "session_not_found", "session_expired", "input_mismatch", "step_failed")


def series(seed: int, length: int) -> list[float | None]:
    """An hourly load with a daily rhythm, noise and some missing hours."""
    random = np.random.default_rng(seed)
    values = 3000 + 500 * np.sin(np.arange(length) * 2 * np.pi / 24) + 50 * random.standard_normal(length)
    values[random.random(length) < 0.05] = np.nan
    return [None if np.isnan(value) else float(round(value)) for value in values]


class Client(ABC):
    """One session, and what was answered to each of its steps."""

    opening: dict[str, Any]

    def __init__(self, address: str, name: str) -> None:
        self.address = address
        self.name = name
        self.answers: list[dict[str, Any]] = []
        self.troubles: Counter[str] = Counter()
        self.position = 0
        self.longest_wait_s = 0.0
        self._http = httpx.AsyncClient(base_url=f"http://{address}", timeout=5, headers={"x-session-id": name})

    async def open(self) -> None:
        answer = await self._http.post("/v1/sessions", json={"id": self.name, **self.opening})
        if answer.status_code != 201:
            raise Failed(f"{self.name} was not opened: {answer.status_code} {answer.text}")

    async def run(self, ends: asyncio.Event) -> None:
        """Send steps, each until it is answered, until told to end."""
        while not ends.is_set() and self.has_more():
            started = time.monotonic()
            answer = await self._answered(self.step())
            self.longest_wait_s = max(self.longest_wait_s, time.monotonic() - started)
            if answer.setdefault("start", self.position) != self.position:
                raise Failed(f"{self.name}: {answer} answers a step at {self.position}")
            if answer["durable_position"] < answer["position"]:
                raise Failed(f"{self.name}: {answer} is acknowledged and not stored")
            self.position = answer["position"]
            self.answers.append(answer)
            await asyncio.sleep(_PAUSE_S)

    async def _answered(self, step: dict[str, Any]) -> dict[str, Any]:
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                status, answer = await self.ask(step)
            except (httpx.HTTPError, OSError, WebSocketException, TimeoutError) as error:
                await self.hang_up()
                status, answer = 0, {"error": {"code": type(error).__name__}}
            if status == 200:
                self.troubles["recorded answer"] += answer.get("repeated", False)
                return answer
            self.troubles[f"{status or ''} {answer.get('error', {}).get('code')}".strip()] += 1
            if status and status not in _AGAIN:
                raise Failed(f"{self.name} at {self.position}: {status} {answer}")
            if time.monotonic() > deadline:
                raise Failed(f"{self.name} at {self.position}: not answered for {_PATIENCE_S:.0f} s: {self.troubles}")
            await asyncio.sleep(_BEFORE_RETRY_S)

    async def described(self) -> dict[str, Any]:
        """What the service tells of the session."""
        answer = await self._http.get(f"/v1/sessions/{self.name}")
        if answer.status_code != 200:
            raise Failed(f"{self.name}: {answer.status_code} {answer.text}")
        described: dict[str, Any] = answer.json()
        return described

    async def close(self) -> None:
        await self.hang_up()
        await self._http.aclose()

    def has_more(self) -> bool:
        return True

    async def hang_up(self) -> None:
        """Send nothing more over the same connection."""
        return None

    @abstractmethod
    def step(self) -> dict[str, Any]:
        """The next step's body."""

    async def ask(self, step: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Send a step once: status and answer."""
        answer = await self._http.post(f"/v1/sessions/{self.name}/{self.verb}", json=step)
        return answer.status_code, answer.json()

    verb = "observe"


class Observer(Client):
    """Sends a series, value by value, over HTTP."""

    opening = {"model": SERIES_MODEL, "first_timestamp": FIRST_TIMESTAMP}

    def __init__(self, address: str, name: str, values: Sequence[float | None]) -> None:
        super().__init__(address, name)
        self.values = values

    def has_more(self) -> bool:
        return self.position < len(self.values)

    def step(self) -> dict[str, Any]:
        return {"values": [self.values[self.position]], "position": self.position}

    @property
    def observed(self) -> dict[str, Any]:
        """All steps' answers together."""
        return {
            "quantiles": [answer["quantiles"]["values"][0] for answer in self.answers],
            "pit": [answer["pit"][0] for answer in self.answers],
        }


class Streamer(Observer):
    """Sends a series over a WebSocket, and connects again whenever that ends."""

    _connection: ClientConnection | None = None

    async def ask(self, step: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        async with asyncio.timeout(5):
            if self._connection is None:
                url = f"ws://{self.address}/v1/sessions/{self.name}/stream"
                self._connection = await connect(url, open_timeout=5, additional_headers={"x-session-id": self.name})
            await self._connection.send(json.dumps({"type": "observe", **step}))
            answer = json.loads(await self._connection.recv())
        if answer["type"] == "error":
            await self.hang_up()
            return 409 if answer["error"]["code"] in _CONFLICTS else 503, answer
        return 200, answer

    async def hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(OSError, WebSocketException, TimeoutError):
                async with asyncio.timeout(1):
                    await connection.close()


class Writer(Client):
    """Has text written, a few seeded characters at a time."""

    opening = {"model": TEXT_MODEL, "seed": 5}
    verb = "generate"

    def step(self) -> dict[str, Any]:
        return self.asked(self.position)

    def asked(self, position: int) -> dict[str, Any]:
        """The body of the step at a position."""
        return {"max_tokens": 3, "temperature": 0.9, "position": position}


@asynccontextmanager
async def running(clients: Sequence[Client]) -> AsyncIterator[None]:
    """All clients at work; at the end each finishes the step it is at. The first failure of any is raised."""
    ends = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(client.run(ends))
        try:
            yield
        finally:
            ends.set()


async def progress(clients: Sequence[Client], steps: int) -> None:
    """Wait until every client was answered so many more steps."""
    wanted = [(client, len(client.answers) + steps) for client in clients]
    deadline = time.monotonic() + _PATIENCE_S
    for client, many in wanted:
        while len(client.answers) < many and client.has_more():
            if time.monotonic() > deadline:
                raise Failed(f"{client.name} does not go on from {client.position}: {client.troubles}")
            await asyncio.sleep(0.05)
