"""WebSocket connections: frames with changed payloads, and changed frames."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tests.fuzz import seeds
from tests.fuzz.findings import Findings
from tests.fuzz.http import PATIENCE_S
from tests.fuzz.mutation import Mutator
from tests.fuzz.server import FuzzedServer
from tests.service.protocols.hot.frames import CLOSE, TEXT, frame

_HANDSHAKE = (
    "GET /v1/sessions/{session}/stream HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
_LAST = "the last message"
_INTERNAL = 1011
_SILENCE_S = 1.0
_OUR_FAULT = ("internal_error", "step_failed", "journal_damaged")


class WebSockets:
    """One connection for each input, which is a few frames."""

    def __init__(self, server: FuzzedServer, mutator: Mutator, findings: Findings) -> None:
        self._server = server
        self._mutator = mutator
        self._findings = findings

    async def attack(self) -> None:
        """Send some frames, the last of them right, and judge what comes until that is answered or all is closed."""
        mutator = self._mutator
        session = mutator.choose(list(seeds.SESSIONS))
        messages = [self._message(session) for _ in range(mutator.choose((1, 1, 2, 5)))]
        sent = b"".join(messages)
        whole, door = True, "websocket messages"
        if mutator.chance(0.3):
            # What is cut short waits for its end.
            sent, whole, door = mutator.changed(sent, messages), False, "websocket frames"
        sent += frame(json.dumps({"type": "session", "id": _LAST}))
        try:
            async with asyncio.timeout(PATIENCE_S if whole else _SILENCE_S):
                await self._exchange(door, session, sent)
        except TimeoutError:
            self._findings.note(door, "waits")
            if whole:
                self._findings.add(door, f"no answer within {PATIENCE_S:g} s", sent)
        except (ConnectionError, asyncio.IncompleteReadError):
            self._findings.note(door, "broken off")
            if whole:
                self._findings.add(door, "the connection was broken off without a close", sent)

    def _message(self, session: str) -> bytes:
        """One message that a session's WebSocket does not quite expect."""
        mutator = self._mutator
        if mutator.chance(0.4):
            return frame(mutator.changed(mutator.choose(seeds.BINARY_FRAMES[session]), seeds.BINARY_FRAMES[session]))
        changed = mutator.changed_json(mutator.choose(seeds.TEXT_FRAMES[session]))
        if mutator.chance(0.2):
            changed = mutator.changed(changed)
        return frame(changed, TEXT)

    async def _exchange(self, door: str, session: str, sent: bytes) -> None:
        host, port = self._server.address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(_HANDSHAKE.format(session=session).encode())
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
            writer.write(sent)
            while not self._judge(door, *await _next(reader), sent):
                continue
        finally:
            writer.transport.abort()

    def _judge(self, door: str, opcode: int, payload: bytes, sent: bytes) -> bool:
        """Note one frame of the server's; whether it was the last."""
        if opcode == CLOSE:
            code = int.from_bytes(payload[:2], "big")
            self._findings.note(door, f"close {code}")
            if code == _INTERNAL:
                self._findings.add(door, f"closed with {code}", sent)
            return True
        if opcode == TEXT:
            told: Any = json.loads(payload)
            error = told.get("error", {}).get("code")
            self._findings.note(door, str(error or told["type"]))
            if error in _OUR_FAULT:
                self._findings.add(door, f"answered {error}", sent)
            return bool(told.get("id") == _LAST)
        else:
            self._findings.note(door, f"frame {opcode}")
        return False


async def _next(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    first, length = await reader.readexactly(2)
    if length >= 126:
        length = int.from_bytes(await reader.readexactly(2 if length == 126 else 8), "big")
    return first & 0x0F, await reader.readexactly(length)
