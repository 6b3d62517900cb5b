"""A session's WebSocket over a bare socket: prepared frames out, answers of a known size in.

So thin that what is measured is the server: no WebSocket library, no event loop, no masking (a mask of zeros leaves
the payload as it is, and is a mask).
"""

from __future__ import annotations

import base64
import os
import socket
import struct
from types import TracebackType

import numpy as np

from benchmarks.frames import answer_bytes, observe_frame
from benchmarks.models import QUANTILES
from service.protocols.native.frames import HEADER

_BINARY, _FINAL, _MASKED = 2, 0x80, 0x80
_NO_MASK = bytes(4)


class BareStream:
    """One connection to one session; sends the same observe frame again and again."""

    def __init__(self, address: str, session: str, steps: int) -> None:
        """Connect and upgrade.

        Raises:
            RuntimeError: the server refused.
        """
        host, port = address.split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.frame = _framed(observe_frame(steps))
        payload = answer_bytes(steps)
        self._payload_at = len(_head(payload))
        self.answer_size = self._payload_at + payload
        self._buffer = bytearray(self.answer_size)
        self._view, self._received = memoryview(self._buffer), 0
        self._upgrade(address, session)

    def __enter__(self) -> BareStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def step(self) -> None:
        """Send the frame and wait for its answer."""
        missing = self.send()
        while missing:
            missing -= self.receive()

    def send(self) -> int:
        """Send the frame; how many bytes will answer it."""
        self.socket.sendall(self.frame)
        self._received = 0
        return self.answer_size

    def receive(self) -> int:
        """Take in what has arrived of the answer, at least a byte of it; how many bytes.

        Raises:
            RuntimeError: the answer is an error, or the connection was closed.
        """
        got = self.socket.recv_into(self._view[self._received :])
        if not got or self._buffer[0] != _FINAL | _BINARY:
            raise RuntimeError(
                f"expected a binary frame of {self.answer_size} bytes, got {bytes(self._buffer[:200])!r}"
            )
        self._received += got
        return got

    def quantiles(self) -> list[float]:
        """The quantiles of the last answer's first step."""
        offset = self._payload_at + HEADER.size
        return list(np.frombuffer(self._buffer, "<f4", QUANTILES, offset=offset).tolist())

    def _upgrade(self, address: str, session: str) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET /v1/sessions/{session}/stream HTTP/1.1", f"host: {address}", "upgrade: websocket"]
        lines += ["connection: upgrade", f"sec-websocket-key: {key}", "sec-websocket-version: 13", "\r\n"]
        self.socket.sendall("\r\n".join(lines).encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            if not (byte := self.socket.recv(1)):
                raise RuntimeError(f"the server closed the connection after {answer!r}")
            answer += byte
        if b" 101 " not in answer.partition(b"\r\n")[0]:
            raise RuntimeError(f"expected the connection to be upgraded, got {answer!r}")


def _framed(payload: bytes) -> bytes:
    head = bytearray(_head(len(payload)))
    head[1] |= _MASKED
    return bytes(head) + _NO_MASK + payload


def _head(size: int) -> bytes:
    """The head of an unmasked binary frame with a payload of this size."""
    if size < 126:
        return struct.pack(">BB", _FINAL | _BINARY, size)
    if size < 65536:
        return struct.pack(">BBH", _FINAL | _BINARY, 126, size)
    return struct.pack(">BBQ", _FINAL | _BINARY, 127, size)
