"""One HTTP connection that is kept, over a bare socket: so thin that what is measured is the server."""

from __future__ import annotations

import json
import re
import socket
from types import TracebackType
from typing import Any

from benchmarks.plain_http import prepared

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class KeptConnection:
    """Sends one request after another and waits for each answer."""

    def __init__(self, address: str) -> None:
        host, port = address.split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> KeptConnection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, request: bytes) -> bytes:
        """The body of the answer to a prepared request.

        Raises:
            RuntimeError: the answer is an error, or the connection was closed.
        """
        self.socket.sendall(request)
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._receive()
        head, _, body = received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if length is None:
            raise RuntimeError(f"expected an answer of a known length, got {head!r}")
        while len(body) < int(length[1]):
            body += self._receive()
        if not head.startswith(b"HTTP/1.1 2"):
            raise RuntimeError(f"{request.partition(b' HTTP')[0].decode()}: {body[:500]!r}")
        return body

    def call(self, path: str, body: Any) -> Any:
        """Send a value as JSON and return the value that the answer holds."""
        return json.loads(self.send(prepared(path, json.dumps(body).encode())))

    def _receive(self) -> bytes:
        received = self.socket.recv(1 << 16)
        if not received:
            raise RuntimeError("the server closed the connection")
        return received
