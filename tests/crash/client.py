"""A client that never gives up: it asks for the same step, at the position it knows, until it is answered."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from tests.crash.script import Script, Step, lasting

_AGAIN = (429, 499, 500, 502, 503)
_CODES_AGAIN = ("journal_unavailable", "session_moved", "shutting_down", "overloaded", "step_failed")
_PAUSE_S = 0.02


class Wrong(AssertionError):
    """An answer that no client should ever get."""


@dataclass
class Seen:
    """What one client was told, step by step, and how often it had to ask again."""

    script: Script
    answers: list[dict[str, Any]] = field(default_factory=list)
    retries: int = 0
    repeated: int = 0
    restored: int = 0
    position: int = 0


class Client:
    """One client with one session.

    Args:
        addresses: of replicas, any of which may be asked.
    """

    def __init__(self, script: Script, addresses: Sequence[str], seed: int) -> None:
        self.seen = Seen(script)
        self._script = script
        self._addresses = addresses
        self._chance = random.Random(f"{seed} {script.session_id}")
        self._http = httpx.AsyncClient(timeout=20)
        self._socket: ClientConnection | None = None

    async def play(self, pause_s: float = 0.0, enough: asyncio.Event | None = None) -> Seen:
        """Open the session and take all its steps, or those up to when it is enough."""
        try:
            position = await self._open()
            for step in self._script.steps:
                answer = await self._until_answered(step, position)
                self.seen.repeated += bool(answer.get("repeated"))
                self.seen.restored += bool(answer.get("restored"))
                self.seen.answers.append(lasting(answer))
                position = self.seen.position = answer["position"]
                if enough is not None and enough.is_set():
                    break
                if pause_s:
                    await asyncio.sleep(self._chance.uniform(0, 2 * pause_s))
            await self._require_position(position)
        finally:
            await self._http.aclose()
            if self._socket is not None:
                await self._socket.close()
        return self.seen

    async def _require_position(self, position: int) -> None:
        """Check that the session stands where the last answer said: nothing was lost after it, and nothing doubled."""
        url = f"http://{self._anyone()}/v1/sessions/{self._script.session_id}"
        stands = (await self._http.get(url)).json()["position"]
        if stands != position:
            raise Wrong(f"session {self._script.session_id}: it is at {stands} and was acknowledged at {position}")

    async def _open(self) -> int:
        script = self._script
        body = {"id": script.session_id, "model": script.model, "seed": script.seed}
        while True:
            try:
                answer = await self._http.post(f"http://{self._anyone()}/v1/sessions", json=body)
            except httpx.HTTPError:
                await self._pause()
                continue
            if answer.status_code == 201 or (answer.status_code == 409 and self.seen.retries):
                return 0
            await self._pause_or_fail(answer.status_code, answer.text)

    async def _until_answered(self, step: Step, position: int) -> dict[str, Any]:
        ask = self._by_websocket if self._script.by_websocket else self._by_http
        while True:
            try:
                answer = await ask(step, step.body | {"position": position})
            except (httpx.HTTPError, OSError, WebSocketException, TimeoutError):
                self._socket = None
                answer = None
            if answer is not None:
                return answer
            await self._pause()

    async def _by_http(self, step: Step, body: dict[str, Any]) -> dict[str, Any] | None:
        url = f"http://{self._anyone()}/v1/sessions/{self._script.session_id}/{step.what}"
        answer = await self._http.post(url, json=body)
        if answer.status_code == 200:
            found: dict[str, Any] = answer.json()
            return found
        await self._pause_or_fail(answer.status_code, answer.text)
        return None

    async def _by_websocket(self, step: Step, body: dict[str, Any]) -> dict[str, Any] | None:
        if self._socket is None or self._chance.random() < 0.05:
            if self._socket is not None:
                await self._socket.close()
            url = f"ws://{self._anyone()}/v1/sessions/{self._script.session_id}/stream"
            self._socket = await connect(url, open_timeout=20)
        await self._socket.send(json.dumps({"type": step.what} | body))
        pieces: list[dict[str, Any]] = []
        while True:
            async with asyncio.timeout(20):
                told = json.loads(await self._socket.recv())
            if told["type"] == "error":
                self._require_again(told["error"]["code"], json.dumps(told))
                self._socket = None
                return None
            pieces.append(told)
            if "text" not in told or told.get("finish_reason"):
                return _joined(pieces)

    def _anyone(self) -> str:
        return self._chance.choice(self._addresses)

    async def _pause(self) -> None:
        self.seen.retries += 1
        await asyncio.sleep(_PAUSE_S)

    async def _pause_or_fail(self, status: int, text: str) -> None:
        if status not in _AGAIN:
            raise Wrong(f"session {self._script.session_id}: {status} {text}")
        await self._pause()

    def _require_again(self, code: str, text: str) -> None:
        if code not in _CODES_AGAIN:
            raise Wrong(f"session {self._script.session_id}: {text}")
        self.seen.retries += 1


def _joined(pieces: list[dict[str, Any]]) -> dict[str, Any]:
    """The pieces of a text as the one answer that they are over HTTP."""
    if "text" not in pieces[0]:
        return pieces[0]
    whole = dict(pieces[-1])
    whole["text"] = "".join(piece["text"] for piece in pieces)
    whole["tokens"] = [token for piece in pieces for token in piece["tokens"]]
    for said in ("repeated", "restored"):
        whole[said] = any(piece.get(said) for piece in pieces)
    return whole
