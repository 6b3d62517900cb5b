"""A WebSocket connection whose plain frames may be answered below ASGI; everything else is uvicorn's own.

What arrives is cut into frames. A whole message in one frame is offered to whoever the application has attached;
control frames, messages in several frames, long ones and whatever is not taken go on to uvicorn's parser, always
whole frames at a time, so that it stands between two frames whenever one is answered past it.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Opcode
from websockets.http11 import Request
from websockets.speedups import apply_mask

from service.errors import UnrollError
from service.protocols.hot.routes import HotFrames

HOT_EXTENSION = "unroll.hot"
"""Where an application finds the connection in its scope's extensions, to attach who answers frames below it."""

_LONGEST = 65_536
"""Bytes of a frame; a longer one is passed on as it comes."""
_FIN, _MASKED = 0x80, 0x80


class HotWebSocket(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket connection with a short way for plain frames; see the module."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._frames: HotFrames | None = None
        self._kept = b""
        self._passing = 0
        """Bytes still to come of a frame that is passed on in pieces."""
        self._in_message = False
        """Whether a message in several frames has begun and not ended."""
        self._answering = False

    def attach(self, frames: HotFrames) -> None:
        """Offer whole messages to `frames` from now on."""
        self._frames = frames

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == 101:
            self.scope["extensions"][HOT_EXTENSION] = self  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if not self.handshake_initiated:
            super().data_received(data)
            return
        if self._kept:
            data, self._kept = self._kept + data, b""
        start = 0
        while start < len(data) and not self.transport.is_closing():
            if self._passing:
                end = min(len(data), start + self._passing)
                self._passing -= end - start
                super().data_received(data[start:end])
                start = end
                continue
            length = _frame_length(data, start)
            if length is None or start + length > len(data) and length <= _LONGEST:
                self._kept = data[start:]
                return
            if length > _LONGEST:
                self._note_message(data[start])
                self._passing = length
                continue
            self._take(data[start : start + length])
            start += length

    def _take(self, frame: bytes) -> None:
        opcode, whole = frame[0] & 0x0F, frame[0] & 0xF0 == _FIN
        plain = whole and not self._in_message and opcode in (Opcode.TEXT, Opcode.BINARY) and frame[1] & _MASKED
        if plain and self._is_free() and self._frames is not None:
            self._answering = self._frames.begin(_payload(frame), opcode == Opcode.BINARY, _FrameExchange(self, opcode))
            if self._answering:
                return
        self._note_message(frame[0])
        super().data_received(frame)

    def _is_free(self) -> bool:
        """Whether nothing else is on its way to the client or from the client to the application."""
        return not self._answering and not self.close_sent and self.queue.empty() and self.writable.is_set()

    def _note_message(self, first_byte: int) -> None:
        if first_byte & 0x0F in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            self._in_message = not first_byte & _FIN

    def write_frame(self, opcode: int, payload: bytes) -> None:
        """Write an answer, unless the connection is being closed."""
        self._answering = False
        if not self.close_sent and not self.transport.is_closing():
            self.transport.write(_header(opcode, len(payload)) + payload)

    def pass_error(self, error: UnrollError, identifier: str | int | None) -> None:
        """Leave it to the application to tell of an error, in its place among the messages it receives."""
        self._answering = False
        event = {"type": "websocket.receive", "error": error, "id": identifier}
        self.queue.put_nowait(event)  # type: ignore[arg-type]


class _FrameExchange:
    """One frame whose answer is still to come."""

    __slots__ = ("_connection", "_opcode")

    def __init__(self, connection: HotWebSocket, opcode: int) -> None:
        self._connection = connection
        self._opcode = opcode

    def answer(self, payload: bytes) -> None:
        self._connection.write_frame(self._opcode, payload)

    def fail(self, error: UnrollError, identifier: str | int | None) -> None:
        self._connection.pass_error(error, identifier)


def _frame_length(data: bytes, start: int) -> int | None:
    """Bytes of the frame that begins at `start`, its header and mask included; None while that cannot be told."""
    available = len(data) - start
    if available < 2:
        return None
    masked, length = data[start + 1] & _MASKED, data[start + 1] & 0x7F
    head = 2
    if length == 126:
        head = 4
    elif length == 127:
        head = 10
    if available < head:
        return None
    if head > 2:
        length = int.from_bytes(data[start + 2 : start + head], "big")
    return head + (4 if masked else 0) + length


def _payload(frame: bytes) -> bytes:
    """The unmasked payload of a whole masked frame."""
    head = 2 if frame[1] & 0x7F < 126 else 4
    return bytes(apply_mask(frame[head + 4 :], frame[head : head + 4]))


def _header(opcode: int, length: int) -> bytes:
    """The header of a whole, unmasked frame."""
    if length < 126:
        return bytes((_FIN | opcode, length))
    if length < 65_536:
        return bytes((_FIN | opcode, 126)) + length.to_bytes(2, "big")
    return bytes((_FIN | opcode, 127)) + length.to_bytes(8, "big")
