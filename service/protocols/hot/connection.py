"""The protocol class of a connection: hot requests straight to the engine, everything else to uvicorn's own.

A connection is either between two messages, in the middle of one that uvicorn's parser reads or answers, or waiting
for the answer to a hot request. Only between messages is a request looked at here. What a client sends while a hot
answer is outstanding is kept, up to a bound past which its socket is read no more, so that answers come in the order
of the requests and a client that runs ahead pays for it alone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from starlette.responses import Response
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.server import ServerState

from service.errors import UnrollError
from service.logging_setup import request_id
from service.protocols.boundary import choose_request_id, log_request, new_request_id, request_log
from service.protocols.bounded_head import BoundedHeadProtocol
from service.protocols.context import Context
from service.protocols.hot.head import Head, read_head, without_h2c
from service.protocols.hot.routes import HotRoute
from service.protocols.rendering import Renderers

log = logging.getLogger(__name__)

_MOST_KEPT = 65_536
"""Bytes that a client may run ahead of its answers."""
_LARGEST_BODY = 65_536
"""Bytes of a body; a longer one is left to the application, which reads it piece by piece."""
_BEGINNING = b"POST /v"
_WAIT = -1
_HEADERS = b"%bcontent-length: %d\r\ncontent-type: %b\r\nx-request-id: %b\r\n"


class HotConnection(BoundedHeadProtocol):
    """uvicorn's HTTP connection with a short way for the per-step routes; see the module."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, object],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        context: Context,
        routes: Sequence[HotRoute],
        renderers: Renderers,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._context = context
        self._routes = routes
        self.renderers = renderers
        self._exchange: _HotExchange | None = None
        self._kept = b""
        self._begun = self._complete = 0
        """Messages that uvicorn's parser has begun to read, and those it has read whole."""
        self._last: tuple[bytes, Head, HotRoute] | None = None
        """The last head, which clients that step often repeat byte for byte."""
        self._active_at = 0.0
        self._idle_timer: asyncio.TimerHandle | None = None
        self._closing_after = False

    # What arrives.

    def data_received(self, data: bytes) -> None:
        if self._kept:
            data = self._kept + data
            self._kept = b""
        self._take(data)

    def _take(self, data: bytes) -> None:
        between_messages = self._between_messages
        if self._exchange is not None or (self.flow.write_paused and between_messages):
            self._keep(data)
            return
        used = self._begin(data) if between_messages else 0
        if used == _WAIT:
            self._unset_keepalive_if_required()
            self._watch_idleness()
            self._active_at = time.perf_counter()
            self._keep(data)
        elif used == 0:
            super().data_received(without_h2c(data) if between_messages else data)
        elif used < len(data):
            self._keep(data[used:])

    def _keep(self, data: bytes) -> None:
        self._kept = data
        if len(data) > _MOST_KEPT + _LARGEST_BODY:
            self.flow.pause_reading()

    def _take_kept(self) -> None:
        if self._kept and not self.transport.is_closing():
            data, self._kept = self._kept, b""
            self._take(data)
        if len(self._kept) <= _MOST_KEPT + _LARGEST_BODY and self._between_messages:
            self.flow.resume_reading()

    @property
    def _between_messages(self) -> bool:
        """Whether the next byte begins a request, and every answer before it has been written."""
        return self._begun == self._complete and (self.cycle is None or self.cycle.response_complete)

    def on_message_begin(self) -> None:
        self._begun += 1
        super().on_message_begin()

    def on_message_complete(self) -> None:
        self._complete += 1
        super().on_message_complete()

    def _begin(self, data: bytes) -> int:
        """Begin to serve the hot request that `data` starts with.

        Returns how many bytes it took: 0 where it is none, and _WAIT where the rest of its body is still to come.
        """
        if not data.startswith(_BEGINNING):
            return 0
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return 0
        if self._last is None or len(self._last[0]) != end or not data.startswith(self._last[0]):
            self._last = self._route_of(data[:end])
            if self._last is None:
                return 0
        _, head, route = self._last
        total = end + 4 + head.length
        if len(data) < total:
            return _WAIT
        if self._context.traffic.draining or request_log.isEnabledFor(logging.DEBUG):
            return 0
        exchange = _HotExchange(self, route, head)
        try:
            begun = route.begin(head, data[end + 4 : total], exchange)
        except Exception:
            log.exception("the short way of %s failed; the application is asked", route.template)
            return 0
        if not begun:
            return 0
        self._exchange = exchange
        self._context.traffic.active += 1
        self._unset_keepalive_if_required()
        return total

    def _route_of(self, text: bytes) -> tuple[bytes, Head, HotRoute] | None:
        head = read_head(text)
        if head is None or head.length > min(_LARGEST_BODY, self._context.settings.max_request_bytes):
            return None
        route = next((route for route in self._routes if route.matches(head.path)), None)
        return None if route is None else (text, head, route)

    # What leaves.

    def write_answer(self, exchange: _HotExchange, status: int, headers: bytes, body: bytes, *, close: bool) -> None:
        """Write an answer, count it, and go on with what the client has sent meanwhile."""
        self._exchange = None
        context, transport = self._context, self.transport
        context.traffic.active -= 1
        now = time.perf_counter()
        if not transport.is_closing():
            closing = b"connection: close\r\n" if self._closing_after and not close else b""
            transport.write(b"".join((_beginning(status, self.server_state), headers, closing, b"\r\n", body)))
            if close or self._closing_after:
                transport.close()
        self.server_state.total_requests += 1
        context.metrics.on_request(exchange.route.template, "POST", status, now - exchange.started)
        if transport.is_closing():
            return  # a timer would hold the connection long after it is gone
        self._active_at = now
        if self._idle_timer is None:
            self._watch_idleness()
        if self._kept:
            self._take_kept()

    # When it rests, and when it ends.

    def _watch_idleness(self) -> None:
        """One timer for the connection, which looks now and then, instead of one for every request."""
        if self._idle_timer is None:
            self._active_at = time.perf_counter()
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._close_if_idle)

    def _close_if_idle(self) -> None:
        self._idle_timer = None
        if self.transport.is_closing():
            return
        rested = time.perf_counter() - self._active_at
        if self._exchange is not None or not self._between_messages:
            self._watch_idleness()
        elif rested >= self.timeout_keep_alive:
            self.timeout_keep_alive_handler()
        else:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive - rested, self._close_if_idle)

    def timeout_keep_alive_handler(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()  # closing would wait for a client that does not read
        else:
            super().timeout_keep_alive_handler()

    def handle_websocket_upgrade(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        super().handle_websocket_upgrade()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._active_at = time.perf_counter()
        if self._kept:
            self._take_kept()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._exchange is None:
            self._take_kept()

    def connection_lost(self, exc: Exception | None) -> None:
        self._kept = b""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        if self._exchange is None:
            super().shutdown()
        else:
            self._closing_after = True


class _Prebuilt:
    """The last default headers seen, and answers' beginnings with them, by status."""

    def __init__(self) -> None:
        self.source: object = None
        self.beginnings: dict[int, bytes] = {}


_prebuilt = _Prebuilt()


def _beginning(status: int, server_state: ServerState) -> bytes:
    """The status line and the headers that uvicorn gives every answer, which change once a second."""
    defaults = server_state.default_headers
    if _prebuilt.source is not defaults:
        _prebuilt.source = defaults
        _prebuilt.beginnings.clear()
    text = _prebuilt.beginnings.get(status)
    if text is None:
        lines = (name + b": " + value + b"\r\n" for name, value in defaults)
        text = _prebuilt.beginnings[status] = STATUS_LINE[status] + b"".join(lines)
    return text


class _HotExchange:
    """One hot request whose answer is still to come."""

    __slots__ = ("_connection", "_head", "route", "started")

    def __init__(self, connection: HotConnection, route: HotRoute, head: Head) -> None:
        self.started = time.perf_counter()
        self.route = route
        self._connection = connection
        self._head = head

    def answer(self, body: bytes, media_type: bytes = b"application/json", headers: bytes = b"") -> None:
        text = _HEADERS % (headers, len(body), media_type, self._request_id())
        self._connection.write_answer(self, 200, text, body, close=False)

    def fail(self, error: UnrollError) -> None:
        path, identifier = self._head.path.decode(), self._request_id()
        response: Response = self._connection.renderers.render(error, path, identifier.decode())
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in response.raw_headers)
        self._connection.write_answer(
            *(self, response.status_code, lines + b"x-request-id: " + identifier + b"\r\n", bytes(response.body)),
            close=response.headers.get("connection") == "close",
        )
        before = request_id.set(identifier.decode())
        try:
            log_request("POST", path, response.status_code, time.perf_counter() - self.started)
        finally:
            request_id.reset(before)

    def _request_id(self) -> bytes:
        given = self._head.headers.get(b"x-request-id")
        identifier = new_request_id() if given is None else choose_request_id(((b"x-request-id", given),))
        return identifier.encode()
