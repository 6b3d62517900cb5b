"""Clients that do not wait for each other: requests are sent when they are due, whatever became of those before.

Clients that send the next request after the last one's answer slow down with the server, and so never show what it does
under more than it can carry. Times are taken from when a request was due, not from when it could be sent.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_LAG_S = 0.001
_PATIENCE_S = 60.0


@dataclass
class Seen:
    """What became of requests that were sent for some seconds: what each took in seconds, by its answer's status.

    `in_time` counts the answers 200 that came while requests were still sent: what was got done in that time. The last
    of all came at `last`, by the same clock as `until`, when the last request was sent.
    """

    seconds: float
    until: float = 0.0
    in_time: int = 0
    last: float = 0.0
    by_status: dict[int, list[float]] = field(default_factory=dict)
    unanswered: int = 0
    connections: int = 0

    @property
    def accepted(self) -> list[float]:
        return self.by_status.get(200, [])

    @property
    def refused(self) -> list[float]:
        return self.by_status.get(429, [])

    @property
    def done_per_second(self) -> float:
        """Answers 200 a second until the last of them."""
        return len(self.accepted) / (self.last - self.until + self.seconds)

    @property
    def offered(self) -> int:
        return self.unanswered + sum(map(len, self.by_status.values()))

    @property
    def others(self) -> dict[int, int]:
        """Answers that are neither given nor refused for want of room."""
        return {status: len(seen) for status, seen in self.by_status.items() if status not in (200, 429)}


class _Connection(asyncio.Protocol):
    """A kept connection with one request on its way at most."""

    def __init__(self, crowd: _Crowd) -> None:
        self._crowd = crowd
        self._received = b""
        self._needed = 0
        self.due: float | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._needed:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            length = _LENGTH.search(self._received[: end + 2])
            self._needed = end + 4 + (int(length[1]) if length else 0)
        if len(self._received) >= self._needed:
            status = int(self._received[9:12])
            self._received, self._needed = self._received[self._needed :], 0
            self._crowd.answered(self, status)

    def connection_lost(self, exc: Exception | None) -> None:
        self._crowd.lost(self)


class _Crowd:
    """Connections to one server, taken for one request each."""

    def __init__(self, address: str, seen: Seen) -> None:
        host, port = address.split(":")
        self._host, self._port = host, int(port)
        self._seen = seen
        self._idle: list[_Connection] = []
        self.waiting = 0
        self.came = asyncio.Event()

    async def send(self, request: bytes, due: float) -> None:
        self.waiting += 1
        while self._idle and self._idle[-1].transport.is_closing():
            self._idle.pop()
        if self._idle:
            connection = self._idle.pop()
        else:
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(lambda: _Connection(self), self._host, self._port)
            self._seen.connections += 1
        connection.due = due
        connection.transport.write(request)

    def answered(self, connection: _Connection, status: int) -> None:
        assert connection.due is not None
        seen, now = self._seen, time.perf_counter()
        seen.by_status.setdefault(status, []).append(now - connection.due)
        if status == 200:
            seen.in_time += now <= seen.until
            seen.last = now
        connection.due = None
        self.waiting -= 1
        self._idle.append(connection)
        self.came.set()

    def lost(self, connection: _Connection) -> None:
        if connection.due is not None:
            self._seen.unanswered += 1
            self.waiting -= 1
            connection.due = None
            self.came.set()

    def close(self) -> None:
        for connection in self._idle:
            connection.transport.abort()


async def offer(address: str, requests: Sequence[bytes], rate: float, seconds: float, seed: int = 0) -> Seen:
    """Send the requests in turn, `rate` a second at random moments (a Poisson process), and await every answer."""
    seen = Seen(seconds)
    crowd, draw = _Crowd(address, seen), random.Random(seed)
    sending: set[asyncio.Task[None]] = set()
    due = time.perf_counter()
    seen.until = due + seconds
    number = 0
    while due < seen.until:
        ahead = due - time.perf_counter()
        if ahead > _LAG_S:
            await asyncio.sleep(ahead)
        elif number % 16 == 0:
            await asyncio.sleep(0)
        task = asyncio.ensure_future(crowd.send(requests[number % len(requests)], due))
        sending.add(task)
        task.add_done_callback(sending.discard)
        number += 1
        due += draw.expovariate(rate)
    deadline = seen.until + _PATIENCE_S
    while (sending or crowd.waiting) and time.perf_counter() < deadline:
        await asyncio.sleep(0.01)
    seen.unanswered += crowd.waiting
    crowd.close()
    return seen


async def in_turn(address: str, requests: Sequence[bytes], seconds: float, pause_s: float = 0.0) -> Seen:
    """Let one client for each request send it over and over, the next when the last is answered."""
    seen = Seen(seconds)
    seen.until = time.perf_counter() + seconds

    async def client(request: bytes) -> None:
        crowd = _Crowd(address, seen)
        try:
            while time.perf_counter() < seen.until:
                crowd.came.clear()
                await crowd.send(request, time.perf_counter())
                await crowd.came.wait()
                if pause_s:
                    await asyncio.sleep(pause_s)
        finally:
            crowd.close()

    await asyncio.gather(*map(client, requests))
    return seen
