"""Clients that send one session's steps as fast as the answers come, each on a connection of its own.

They are thin on purpose (no HTTP library, prebuilt requests): they share the machine with the server, so what they
cost is taken from what is measured.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np
from websockets.asyncio.client import ClientConnection, connect

from service.protocols.native.frames import HEADER, MAGIC, OBSERVE, VERSION

FIRST_TIMESTAMP = "2024-07-01T00:00:00Z"


@dataclass(frozen=True)
class Measured:
    """What a crowd of clients saw: steps per second over all of them, and one request's latency in milliseconds."""

    steps_per_second: float
    median_ms: float
    p99_ms: float


Drive = Callable[[str, str, float, list[float]], Awaitable[int]]
"""(address, session, deadline, latencies to append to) → steps done."""


async def measure(drive: Drive, address: str, model: str, sessions: int, seconds: float) -> Measured:
    """Open sessions, drive each over its own connection for some seconds, and close them."""
    ids = [await _open(address, model) for _ in range(sessions)]
    await asyncio.gather(*(drive(address, session, time.perf_counter() + 0.5, []) for session in ids))
    latencies: list[float] = []
    started = time.perf_counter()
    steps = await asyncio.gather(*(drive(address, session, started + seconds, latencies) for session in ids))
    elapsed = time.perf_counter() - started
    for session in ids:
        await _close(address, session)
    median, p99 = np.percentile(np.array(latencies) * 1000, [50, 99])
    return Measured(sum(steps) / elapsed, float(median), float(p99))


async def http_json(address: str, session: str, deadline: float, latencies: list[float]) -> int:
    """One value per POST of JSON, over one kept connection."""
    path, steps = f"/v1/sessions/{session}/observe", 0
    async with HttpConnection.open(address) as connection:
        while (started := time.perf_counter()) < deadline:
            status, body = await connection.request("POST", path, b'{"values":[5021.5]}')
            assert status == 200, body
            latencies.append(time.perf_counter() - started)
            steps += 1
    return steps


async def websocket_json(address: str, session: str, deadline: float, latencies: list[float]) -> int:
    """One value per JSON text frame."""
    return await _stream(address, session, deadline, latencies, '{"type":"observe","values":[5021.5]}', 1)


async def websocket_binary(address: str, session: str, deadline: float, latencies: list[float]) -> int:
    """One value per binary frame."""
    return await _stream(address, session, deadline, latencies, _frame(1), 1)


async def websocket_binary_64(address: str, session: str, deadline: float, latencies: list[float]) -> int:
    """64 values per binary frame."""
    return await _stream(address, session, deadline, latencies, _frame(64), 64)


async def _stream(
    address: str, session: str, deadline: float, latencies: list[float], frame: str | bytes, steps_per_frame: int
) -> int:
    steps = 0
    connection: ClientConnection
    async with connect(f"ws://{address}/v1/sessions/{session}/stream", compression=None) as connection:
        while (started := time.perf_counter()) < deadline:
            await connection.send(frame)
            answer = await connection.recv()
            assert not (isinstance(answer, str) and '"error"' in answer), answer
            latencies.append(time.perf_counter() - started)
            steps += steps_per_frame
    return steps


def _frame(steps: int) -> bytes:
    values = np.linspace(4800, 5200, steps, dtype="<f4")
    return HEADER.pack(MAGIC, VERSION, OBSERVE, steps, 1, 0, 0, -1, 0) + values.tobytes()


async def _open(address: str, model: str) -> str:
    body = json.dumps({"model": model, "first_timestamp": FIRST_TIMESTAMP}).encode()
    async with HttpConnection.open(address) as connection:
        status, answer = await connection.request("POST", "/v1/sessions", body)
    assert status == 201, answer
    return str(json.loads(answer)["id"])


async def _close(address: str, session: str) -> None:
    async with HttpConnection.open(address) as connection:
        await connection.request("DELETE", f"/v1/sessions/{session}")


class HttpConnection:
    """One kept HTTP/1.1 connection."""

    def __init__(self, address: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._host = address
        self._reader, self._writer = reader, writer

    @classmethod
    @asynccontextmanager
    async def open(cls, address: str) -> AsyncIterator[HttpConnection]:
        host, port = address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            yield cls(address, reader, writer)
        finally:
            writer.close()
            await writer.wait_closed()

    async def request(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Send a request and return the answer's status and body."""
        head = f"{method} {path} HTTP/1.1\r\nhost: {self._host}\r\ncontent-type: application/json\r\n"
        self._writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", answer, re.IGNORECASE)
        return int(answer[9:12]), await self._reader.readexactly(int(length[1])) if length else b""
