"""A WebSocket connection whose plain frames may be answered below ASGI; everything else is uvicorn's own.

What arrives is cut into frames. A whole message in one frame is offered to whoever the application has attached;
control frames, messages in several frames, long ones and whatever is not taken go on to uvicorn's parser, always
whole frames at a time, so that it stands between two frames whenever one is answered past it. What comes before that
answer waits for it, pings excepted: the next one may be the application's, which could be faster.
"""

from __future__ import annotations

import logging
import math
import time
from asyncio import BaseTransport
from typing import Any

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Opcode
from websockets.http11 import Request
from websockets.speedups import apply_mask

from service.errors import UnrollError
from service.protocols.connections import Connections
from service.protocols.hot.patience import Looks, UnreadAnswers
from service.protocols.hot.routes import HotFrames

log = logging.getLogger(__name__)

HOT_EXTENSION = "unroll.hot"
"""Where an application finds the connection in its scope's extensions, to attach who answers frames below it."""

_LONGEST = 65_536
"""Bytes of a frame; a longer one is passed on as it comes."""
_FIN, _MASKED = 0x80, 0x80


class HotWebSocket(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket connection with a short way for plain frames; see the module."""

    def __init__(self, *args: Any, open_connections: Connections, **named: Any) -> None:
        super().__init__(*args, **named)
        self._open = open_connections
        self._unread = UnreadAnswers(open_connections.request_s, math.inf)
        self._looks: Looks | None = None
        self._messages = 0
        """That have come whole, or whose last frame is passed on."""
        self._arrives: tuple[int, float] | None = None
        """Which message was arriving when the connection was looked at, and when that was first."""
        self._frames: HotFrames | None = None
        self._kept = b""
        """What came and waits: for the rest of its frame, or for its turn after an answer."""
        self._held_back = False
        """Whether nothing is read because so much waits."""
        self._passing = 0
        """Bytes still to come of a frame that is passed on in pieces."""
        self._in_message = False
        """Whether a message in several frames has begun and not ended."""
        self._told_of_answer = False
        self.answering = False
        """Whether a frame was begun below the application and its answer is still to come."""

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        self._looks = Looks(self.loop, self._open.request_s, self._look)

    def resume_writing(self) -> None:
        self._unread.on_read()
        super().resume_writing()

    def _look(self) -> None:
        """See whether the client is slower than it may be."""
        now = time.perf_counter()
        if self._unread.waited_too_long(now, self.transport.get_write_buffer_size()):
            self._open.cut("unread")
            self.transport.abort()  # closing would wait for it to be read
        elif not self._is_arriving or self.transport.is_closing():
            self._arrives = None
        elif self._arrives is None or self._arrives[0] != self._messages:
            self._arrives = self._messages, now
        elif now - self._arrives[1] > self._open.request_s:
            self._open.cut("frame")
            self.conn.send_close(CloseCode.POLICY_VIOLATION, "a message did not arrive in time")
            self.handle_parser_exception()

    @property
    def _is_arriving(self) -> bool:
        """Whether a message has begun to come, and its rest would be read."""
        begun = self._passing or self._in_message or (self._kept and not self.answering)
        return bool(begun) and not self._held_back and not self.read_paused

    def attach(self, frames: HotFrames) -> None:
        """Offer whole messages to `frames` from now on."""
        self._frames = frames

    def tell_of_answer(self) -> None:
        """Have the application receive an event without content once the answer that is still to come is written."""
        self._told_of_answer = True

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
        start: int | None = 0
        while start is not None and start < len(data) and not self.transport.is_closing():
            end = self._take_next(data, start)
            if end is None:
                self._keep(data[start:])
            start = end

    def _take_next(self, data: bytes, start: int) -> int | None:
        """Take what begins at `start`; returns where that ends, or None where it is to wait."""
        if self._passing:
            end = min(len(data), start + self._passing)
            self._passing -= end - start
            super().data_received(data[start:end])
            return end
        length = _frame_length(data, start)
        if length is None or (self.answering and data[start] & 0x0F not in (Opcode.PING, Opcode.PONG)):
            return None  # answers come in the order of the messages
        if length > _LONGEST:
            self._note_message(data[start])
            self._passing = length
            return start
        if start + length > len(data):
            return None
        self._take(data[start : start + length])
        return start + length

    def _keep(self, data: bytes) -> None:
        self._kept = data
        if self.answering and len(data) > 2 * _LONGEST:
            self._held_back = True
            self.transport.pause_reading()

    def _take(self, frame: bytes) -> None:
        opcode, whole = frame[0] & 0x0F, frame[0] & 0xF0 == _FIN
        plain = whole and not self._in_message and opcode in (Opcode.TEXT, Opcode.BINARY) and frame[1] & _MASKED
        if plain and self._frames is not None and self._is_free() and len(frame) <= (self.config.ws_max_size or 0):
            try:
                payload = _payload(frame)
                self.answering = self._frames.begin(payload, opcode == Opcode.BINARY, _FrameExchange(self, opcode))
            except Exception:
                log.exception("the short way of a frame failed; the application is asked")
            if self.answering:
                self._messages += 1
                return
        self._note_message(frame[0])
        super().data_received(frame)

    def _is_free(self) -> bool:
        """Whether nothing else is on its way to the client or from the client to the application."""
        return not self.close_sent and self.queue.empty() and self.writable.is_set()

    def _note_message(self, first_byte: int) -> None:
        if first_byte & 0x0F in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            self._in_message = not first_byte & _FIN
            self._messages += not self._in_message

    def write_frame(self, opcode: int, payload: bytes) -> None:
        """Write an answer, unless the connection is being closed."""
        if not self.close_sent and not self.transport.is_closing():
            self.transport.write(_header(opcode, len(payload)) + payload)
        if self._told_of_answer:
            self.queue.put_nowait({"type": "websocket.receive"})  # type: ignore[arg-type,misc]
        self._go_on()

    def pass_error(self, error: UnrollError, identifier: str | int | None) -> None:
        """Leave it to the application to tell of an error, in its place among the messages it receives."""
        event = {"type": "websocket.receive", "error": error, "id": identifier}
        self.queue.put_nowait(event)  # type: ignore[arg-type]
        self._go_on()

    def _go_on(self) -> None:
        """With what the client has sent before its answer came."""
        self.answering = self._told_of_answer = False
        if self._kept:
            self.data_received(b"")
        if self._held_back and not self.transport.is_closing() and len(self._kept) <= 2 * _LONGEST:
            self._held_back = False
            if not self.read_paused:
                self.transport.resume_reading()

    async def send(self, message: ASGISendEvent) -> None:
        if self.close_sent:  # here, as the client broke the protocol or is silent: nobody takes an answer any more
            raise ClientDisconnected()
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            # The handshake is refused, which is an end: uvicorn would log it as an error of the application's.
            self.handshake_complete = True

    def send_receive_event_to_app(self) -> None:
        # uvicorn would log the trace of a text that is none at the level of errors, and it is the client's.
        if self.curr_msg_data_type == "text" and not self.close_sent and not _is_text(b"".join(self.frames)):
            self.frames = []
            self.conn.send_close(CloseCode.INVALID_DATA)
            self.handle_parser_exception()
            return
        super().send_receive_event_to_app()

    def connection_lost(self, exc: Exception | None) -> None:
        self._kept = b""
        self._open.leave()
        if self._looks is not None:
            self._looks.stop()
        super().connection_lost(exc)


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


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


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
    head = {126: 4, 127: 10}.get(frame[1] & 0x7F, 2)
    return bytes(apply_mask(frame[head + 4 :], frame[head : head + 4]))


def _header(opcode: int, length: int) -> bytes:
    """The header of a whole, unmasked frame."""
    if length < 126:
        return bytes((_FIN | opcode, length))
    if length < 65_536:
        return bytes((_FIN | opcode, 126)) + length.to_bytes(2, "big")
    return bytes((_FIN | opcode, 127)) + length.to_bytes(8, "big")
