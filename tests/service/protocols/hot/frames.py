"""WebSocket frames as bytes: masked or not, whole or in parts, and a connection that shows what comes as it comes."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from service.protocols.native.frames import HEADER
from tests.service.protocols.hot.raw import Raw, connected
from tests.service.protocols.serving import Served

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
_MASK = b"\x11\x22\x33\x44"
Came = tuple[int, bytes]
"""A frame's opcode and payload."""


def frame(
    payload: bytes | str, opcode: int | None = None, *, final: bool = True, masked: bool = True, size: int | None = None
) -> bytes:
    """A client's frame.

    Args:
        size: bytes the length is written in; as few as do, if None.
    """
    data = payload.encode() if isinstance(payload, str) else payload
    kind = (TEXT if isinstance(payload, str) else BINARY) if opcode is None else opcode
    size = size if size is not None else 0 if len(data) < 126 else 2 if len(data) < 65_536 else 8
    short = {0: len(data), 2: 126, 8: 127}[size]
    head = bytes((0x80 * final | kind, 0x80 * masked | short)) + (len(data).to_bytes(size, "big") if size else b"")
    if not masked:
        return head + data
    return head + _MASK + bytes(byte ^ _MASK[index % 4] for index, byte in enumerate(data))


def in_parts(payload: bytes | str, *cuts: int) -> bytes:
    """A message in several frames, cut at these places; a message in parts never takes the short way."""
    data = payload.encode() if isinstance(payload, str) else payload
    first = TEXT if isinstance(payload, str) else BINARY
    places = [0, *cuts, len(data)]
    pieces = [data[start:end] for start, end in zip(places, places[1:], strict=False)]
    return b"".join(
        frame(piece, CONTINUATION if index else first, final=index == len(pieces) - 1)
        for index, piece in enumerate(pieces)
    )


def steps(*rows: tuple[float, ...], position: int = -1, number: int = 0, flags: int = 0) -> bytes:
    """The payload of a binary frame that observes."""
    head = HEADER.pack(b"UN", 1, 1, len(rows), len(rows[0]), flags, number, position, 0)
    return head + b"".join(struct.pack(f"<{len(row)}f", *row) for row in rows)


def _read(take: Callable[[int], bytes]) -> Came:
    first, short = take(2)
    assert first & 0xF0 == 0x80 and short < 128, "the server sends whole frames without a mask"
    length = short
    if short >= 126:
        length = int.from_bytes(take(2 if short == 126 else 8), "big")
    return first & 0x0F, take(length)


class Socket:
    """One WebSocket connection."""

    def __init__(self, raw: Raw) -> None:
        self.raw = raw

    def send(self, *frames: bytes) -> None:
        """Send frames in one piece."""
        self.raw.send(b"".join(frames))

    def next(self) -> Came:
        """The next frame that comes."""
        return _read(self.raw.take)

    def ask(self, *frames: bytes) -> Came:
        self.send(*frames)
        return self.next()

    def tell(self, *frames: bytes) -> Any:
        """The JSON of the answer."""
        opcode, payload = self.ask(*frames)
        assert opcode == TEXT, (opcode, payload)
        return json.loads(payload)

    def rest(self) -> list[Came]:
        """Every frame until the server ends the connection, which is agreed to."""
        came = [self.next()]
        while came[-1][0] != CLOSE:
            came.append(self.next())
        with suppress(OSError):  # it may have closed the connection without waiting
            self.send(frame(came[-1][1], CLOSE))
            assert self.raw.rest() == b"", "nothing comes after a close"
        return came


def observing(*values: float | None, **more: Any) -> str:
    """The text of a frame that observes."""
    return json.dumps({"type": "observe", "values": list(values)} | more)


def close_code(came: list[Came]) -> int:
    """Why a connection was closed, from its last frame."""
    opcode, payload = came[-1]
    assert opcode == CLOSE
    return int.from_bytes(payload[:2], "big")


@contextmanager
def streaming(served: Served, session_id: str, receive_buffer: int | None = None) -> Iterator[Socket]:
    """A WebSocket connection to a session that has answered once, and so takes the short way from then on."""
    with connected(served.url, receive_buffer) as raw:
        raw.send(
            b"GET /v1/sessions/%b/stream HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nX-Request-Id: same\r\n\r\n"
            % session_id.encode()
        )
        assert raw.until(b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
        socket = Socket(raw)
        if session_id:
            assert socket.ask(frame('{"type":"session"}'))[0] == TEXT
        yield socket
