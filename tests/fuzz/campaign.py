"""Fuzzing all doors at once for some time, and what it came to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.fuzz.findings import Findings
from tests.fuzz.http import Http
from tests.fuzz.mutation import Mutator
from tests.fuzz.rpc import Rpc
from tests.fuzz.server import FuzzedServer
from tests.fuzz.websocket import WebSockets

_AT_ONCE = 8
"""Inputs on their way at each door."""
MIB_AT_MOST = 24.0
"""Memory that may be added after the first part of a run, however long: caches have filled by then."""


@dataclass
class Memory:
    """Resident memory of the server, in MiB: once its caches have filled, and at the end."""

    before: float
    after: float

    @property
    def is_flat(self) -> bool:
        return self.after - self.before <= MIB_AT_MOST


async def attack(server: FuzzedServer, seconds: float, seed: int) -> tuple[Findings, Memory]:
    """Send changed inputs to every door for so long; the server's memory is looked at after a third of it."""
    findings, mutator = Findings(), Mutator(seed)
    rpc = Rpc(server, mutator, findings)
    doors = (Http(server, mutator, findings).attack, WebSockets(server, mutator, findings).attack, rpc.attack)
    try:
        await _all_doors(doors, server, time.monotonic() + seconds / 3)
        before = server.resident_mib()
        await _all_doors(doors, server, time.monotonic() + seconds * 2 / 3)
    finally:
        await rpc.close()
    if not server.is_alive:
        findings.add("server", f"ended with status {server.process.poll()}", b"")
        return findings, Memory(before, before)
    for line in server.complaints():
        findings.add("log", line, b"")
    for line in server.own_failures():
        findings.add("metrics", line, b"")
    return findings, Memory(before, server.resident_mib())


async def _all_doors(doors: tuple[Callable[[], Awaitable[None]], ...], server: FuzzedServer, until: float) -> None:
    async def go_on(attack: Callable[[], Awaitable[None]]) -> None:
        while time.monotonic() < until and server.is_alive:
            await attack()

    await asyncio.gather(*(go_on(door) for door in doors for _ in range(_AT_ONCE)))
