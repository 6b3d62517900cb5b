"""Raw HTTP requests with changed heads and changed bodies: JSON, V2's binary tensors, bulk frames, snapshots."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import re
from dataclasses import replace

from service.sessions.snapshot import seal, unseal
from tests.fuzz import seeds
from tests.fuzz.findings import Findings
from tests.fuzz.mutation import Mutator
from tests.fuzz.server import SNAPSHOT_KEY, FuzzedServer

PATIENCE_S = 20.0
_SILENCE_S = 0.25
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n(?=date: )")
"""Of an answer, and of nothing that a body may repeat: in JSON a line feed is written otherwise."""
_SIGNATURES = 64
"""Bytes at the end of a snapshot: checksum and signature."""


class Http:
    """One connection for each input."""

    def __init__(self, server: FuzzedServer, mutator: Mutator, findings: Findings) -> None:
        self._server = server
        self._mutator = mutator
        self._findings = findings

    async def attack(self) -> None:
        """Send one input and judge the answer."""
        mutator = self._mutator
        kind = mutator.random.random()
        if kind < 0.25:
            head, body = mutator.choose(seeds.REQUESTS)
            data = mutator.changed(request(head, body), [request(*one) for one in seeds.REQUESTS])
            await self._send("http heads", data, whole=False)
        elif kind < 0.65:
            head, body = mutator.choose(seeds.JSON_REQUESTS)
            changed = mutator.changed_json(body)
            if mutator.chance(0.2):
                changed = mutator.changed(changed)
            await self._send("http json", request(head, changed), whole=True)
        elif kind < 0.85:
            head, body = mutator.choose(seeds.BINARY_REQUESTS)
            if mutator.chance(0.2) and head[0].startswith("POST /v2"):
                coding = gzip.compress(mutator.changed(body), mtime=0)
                head, body = [*head, "Content-Encoding: gzip"], coding
            await self._send("http binary", request(head, mutator.changed(body)), whole=True)
        else:
            await self._send("snapshots", request(seeds.OPEN, self._snapshot()), whole=True)

    def _snapshot(self) -> bytes:
        """A changed snapshot, sometimes signed again, as another release of the service might have made it."""
        blob, mutator = self._server.snapshot, self._mutator
        if mutator.chance(0.5):
            snapshot = unseal(blob, SNAPSHOT_KEY.encode())
            if mutator.chance(0.8):
                snapshot = replace(snapshot, record=mutator.changed(snapshot.record))
            else:
                snapshot = replace(snapshot, row=mutator.changed(snapshot.row))
            blob = seal(snapshot, SNAPSHOT_KEY.encode())
        elif mutator.chance(0.5):
            blob = seeds.signed(mutator.changed(blob[:-_SIGNATURES]), SNAPSHOT_KEY.encode())
        else:
            blob = mutator.changed(blob)
        body = {"model": seeds.FORECASTER, "snapshot": base64.b64encode(blob).decode()}
        return json.dumps(body).encode()

    async def _send(self, door: str, data: bytes, *, whole: bool) -> None:
        """Send bytes on a connection of their own; a `whole` request has to be answered."""
        answer = b""
        try:
            async with asyncio.timeout(PATIENCE_S):
                answer = await self._exchange(data, whole)
        except TimeoutError:
            self._findings.add(door, f"no answer within {PATIENCE_S:g} s", data)
        except ConnectionError:
            pass  # the service may close what it cannot read, before all of it has come
        statuses = list(_STATUS.finditer(answer))
        for index, status in enumerate(statuses):
            end = statuses[index + 1].start() if index + 1 < len(statuses) else len(answer)
            told = answer[status.start() : end].lower()
            self._findings.check_status(door, int(status[1]), b"\r\nretry-after: " in told, data)
        if not statuses:
            self._findings.note(door, "nothing")

    async def _exchange(self, data: bytes, whole: bool) -> bytes:
        host, port = self._server.address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(data)
            return await _answer_to_whole(reader) if whole else await _until_silence(reader)
        finally:
            writer.transport.abort()


def request(head: list[str], body: bytes) -> bytes:
    """A request whose length is right."""
    lines = [head[0], "Host: localhost", f"Content-Length: {len(body)}", *head[1:]]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def _answer_to_whole(reader: asyncio.StreamReader) -> bytes:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length: (\d+)", head)
        if length is not None:
            return head + await reader.readexactly(int(length[1]))
        return head + await reader.readuntil(b"0\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        return error.partial


async def _until_silence(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the server closes, or has said nothing for a moment: it may wait for more."""
    answer = b""
    while True:
        try:
            async with asyncio.timeout(_SILENCE_S):
                part = await reader.read(65536)
        except TimeoutError:
            return answer
        if not part:
            return answer
        answer += part
