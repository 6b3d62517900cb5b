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
from hmac import compare_digest
from typing import NamedTuple

from starlette.responses import Response
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.server import ServerState

from service.access.admission import Visitor, credential_in
from service.errors import NotAllowed, NotAuthenticated, UnrollError
from service.logging_setup import request_id
from service.protocols.boundary import choose_request_id, log_request, new_request_id, request_log
from service.protocols.context import Context
from service.protocols.hot.head import Head, read_head, without_h2c
from service.protocols.hot.routes import HotRoute
from service.protocols.hot.watched import WatchedConnection
from service.protocols.pulse import AT_ONCE
from service.protocols.rendering import Renderers

log = logging.getLogger(__name__)

_MOST_KEPT = 65_536
"""Bytes that a client may run ahead of its answers."""
_LARGEST_BODY = 65_536
"""Bytes of a body; a longer one is left to the application, which reads it piece by piece."""
_BEGINNING = b"POST /v"
_WAIT = -1
_HEADERS = b"%bcontent-length: %d\r\ncontent-type: %b\r\nx-request-id: %b\r\n"


class _Routed(NamedTuple):
    """A head, where it leads, and whom it comes from."""

    text: bytes
    head: Head
    route: HotRoute
    visitor: Visitor


class HotConnection(WatchedConnection):
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
        super().__init__(config, server_state, app_state, _loop, context.connections, renderers)
        self._context = context
        self._routes = routes
        self._exchange: _HotExchange | None = None
        self._kept = b""
        self._last: _Routed | None = None
        """Of the last head, which clients that step often repeat byte for byte."""
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
            self._waits_for("body")
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

    def _begin(self, data: bytes) -> int:
        """Begin to serve the hot request that `data` starts with.

        Returns how many bytes it took: 0 where it is none, and _WAIT where the rest of its body is still to come.
        """
        if not data.startswith(_BEGINNING):
            return 0
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return 0
        if self._last is None or not self._is_last_head(data, end):
            self._last = self._route_of(data[:end])
            if self._last is None:
                return 0
        _, head, route, visitor = self._last
        total = end + 4 + head.length
        if len(data) < total:
            return _WAIT
        if self._context.traffic.draining or request_log.isEnabledFor(logging.DEBUG):
            return 0
        try:
            caller = visitor.caller()
        except NotAuthenticated:
            return 0  # the application says so
        rates = self._context.rates
        if "sessions" not in caller.rights or not rates.may_ask(caller):
            return 0
        exchange = _HotExchange(self, route, head, caller.name)
        traffic = self._context.traffic
        if (active := traffic.active_of(caller.name)) >= AT_ONCE and traffic.pulse.is_late(exchange.started):
            # Not at once: the rest of the data is still to be taken.
            self.loop.call_soon(exchange.fail, traffic.pulse.refusal(active))
        else:
            try:
                begun = route.begin(head, data[end + 4 : total], caller, exchange)
            except Exception:
                log.exception("the short way of %s failed; the application is asked", route.template)
                return 0
            if not begun:
                return 0
            rates.count(caller)
        self._exchange = exchange
        self._arrives_since = None
        traffic.begin(caller.name)
        self._unset_keepalive_if_required()
        return total

    def _is_last_head(self, data: bytes, end: int) -> bool:
        assert self._last is not None
        text = self._last.text
        if self._context.access.required:
            # In constant time, since both hold keys: the last one may be another client's behind the same proxy.
            return compare_digest(data[:end], text)
        return len(text) == end and data.startswith(text)

    def _route_of(self, text: bytes) -> _Routed | None:
        head = read_head(text)
        if head is None or head.length > min(_LARGEST_BODY, self._context.settings.max_request_bytes):
            return None
        route = next((route for route in self._routes if route.matches(head.path)), None)
        if route is None:
            return None
        try:
            self._context.origins.require(head.headers.items())
            visitor = self._context.access.visitor(credential_in(head.headers.items()))
        except (NotAllowed, NotAuthenticated):
            return None  # the application says so
        return _Routed(text, head, route, visitor)

    # What leaves.

    def write_answer(self, exchange: _HotExchange, status: int, headers: bytes, body: bytes, *, close: bool) -> None:
        """Write an answer, count it, and go on with what the client has sent meanwhile."""
        self._exchange = None
        context, transport = self._context, self.transport
        context.traffic.end(exchange.owner)
        now = time.perf_counter()
        if not transport.is_closing() and not self._ended:
            closing = b"connection: close\r\n" if self._closing_after and not close else b""
            transport.write(b"".join((_beginning(status, self.server_state), headers, closing, b"\r\n", body)))
            if close or self._closing_after:
                transport.close()
        self.server_state.total_requests += 1
        context.metrics.on_request(exchange.route.template, "POST", status, now - exchange.started)
        self._active_at = now
        if self._kept:
            self._take_kept()

    # When it rests, and when it ends.

    @property
    def _rests(self) -> bool:
        return self._exchange is None and self._between_messages

    @property
    def _waits_since(self) -> float | None:
        return super()._waits_since if self._exchange is None else self._exchange.started

    @property
    def _asked_path(self) -> str:
        if self._last is not None and self._kept and self._between_messages:
            return self._last.head.path.decode()  # whose body is waited for here
        return super()._asked_path

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._kept:
            self._take_kept()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._exchange is None:
            self._take_kept()

    def _forget(self, exc: Exception | None) -> None:
        self._kept = b""
        super()._forget(exc)

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

    __slots__ = ("_connection", "_head", "owner", "route", "started")

    def __init__(self, connection: HotConnection, route: HotRoute, head: Head, owner: str | None) -> None:
        self.started = time.perf_counter()
        self.owner = owner
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
