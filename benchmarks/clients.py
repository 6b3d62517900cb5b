"""A kept HTTP connection on the event loop, without an HTTP library: for tests that keep many of them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


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
