"""The one error boundary: request ids, metrics, and every error rendered in the shape of the protocol it belongs to.

Pure ASGI around all routes: nobody comes past it whose API key is not known, but for the few paths that are open to
all. WebSocket connections that are let in pass through; their loop renders its own errors.
"""

from __future__ import annotations

import itertools
import logging
import re
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import ExitStack

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from service.access.admission import Visitor, credential_in
from service.access.caller import caller, enter
from service.errors import UnrollError
from service.logging_setup import request_id
from service.protocols.context import Context
from service.protocols.http_errors import InternalError, MethodNotAllowed, PathNotFound, UpgradeRequired
from service.protocols.rendering import Renderers

request_log = logging.getLogger("service.requests")

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_ALWAYS_SERVED = ("/health/", "/metrics", "/v2/health/")
_VISITOR = "unroll.visitor"
_LEVELS = {500: logging.ERROR, 503: logging.WARNING}
"""Levels at which requests are logged, by status; a shutdown refuses many, and none of that is an error."""

_process = secrets.token_hex(6)
_numbers = itertools.count()


def choose_request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The client's request id where it sent a usable one, else a new one; names are in lower case."""
    for name, value in headers:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return str(value, "ascii")
    return new_request_id()


def new_request_id() -> str:
    """An id that no other request of any process has."""
    return f"{_process}{next(_numbers):08x}"


def ours(error: Exception) -> UnrollError:
    """The error a client is told of; what is not ours is logged with its trace and told of barely."""
    if isinstance(error, UnrollError):
        return error
    request_log.error("unexpected error", exc_info=error)
    return InternalError()


def log_request(method: str, path: str, status: int, seconds: float) -> None:
    """Log one request that was answered, at the level its status calls for."""
    level = _LEVELS.get(status, logging.DEBUG)
    if request_log.isEnabledFor(level):
        facts = {"method": method, "path": path, "status": status}
        request_log.log(level, "request", extra=facts | {"seconds": round(seconds, 6)})


async def refuse_route(request: Request, error: Exception) -> Response:
    """Handler for the router's own refusals: an unknown path, a method that is not served."""
    assert isinstance(error, HTTPException)
    path = request.url.path
    if error.status_code == 405:
        allowed = ", ".join(sorted(_methods_at(path, request.app.routes)))
        raise MethodNotAllowed(f"{path}: expected {allowed}, got {request.method}", allowed=allowed)
    if any(isinstance(route, WebSocketRoute) and route.path_regex.match(path) for route in request.app.routes):
        raise UpgradeRequired(f"{path}: expected a WebSocket handshake (Upgrade: websocket), got plain HTTP")
    raise PathNotFound(f"{path}: nothing is served here; /docs lists what is")


def _methods_at(path: str, routes: Sequence[BaseRoute]) -> set[str]:
    here = [route for route in routes if isinstance(route, Route) and route.path_regex.match(path)]
    return {method for route in here for method in route.methods or ()}


class Boundary:
    """ASGI middleware; see the module."""

    def __init__(self, app: ASGIApp, context: Context, renderers: Renderers, open_paths: Collection[str]) -> None:
        self._app = app
        self._context = context
        self._renderers = renderers
        self._open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            exchange = _Exchange(self._context, self._renderers.render, scope, receive, send)
            await exchange.run(self._app, is_open=scope["path"] in self._open_paths)
        elif scope["type"] == "websocket":
            await self._connect(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _connect(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a WebSocket in, or refuse it with an answer of HTTP before it is one."""
        with ExitStack() as stack:
            try:
                _let_in(self._context, scope)
                stack.enter_context(self._context.rates.stream(caller.get()))
                await self._app(scope, receive, send)
            except UnrollError as error:
                refusal = self._renderers.render(error, scope["path"], choose_request_id(scope["headers"]))
                await WebSocket(scope, receive, send).send_denial_response(refusal)
                log_request("WS", scope["path"], error.status, 0.0)


def visitor_of(connection: HTTPConnection) -> Visitor:
    """Whom a connection that was let in comes from."""
    found = connection.scope[_VISITOR]
    assert isinstance(found, Visitor)
    return found


def _let_in(context: Context, scope: Scope) -> None:
    """Note whom a request or connection comes from.

    Raises:
        NotAllowed: it is a browser's, for a page that may not ask here.
        NotAuthenticated: its API key is not known, or there is none.
        RateLimited: the key has had its requests or steps.
    """
    context.origins.require(scope["headers"])
    visitor = context.access.visitor(credential_in(scope["headers"], scope.get("subprotocols", ())))
    who = visitor.caller()
    context.rates.admit(who)
    enter(who)
    scope[_VISITOR] = visitor


class _Exchange:
    """One request and its answer."""

    def __init__(
        self,
        context: Context,
        render: Callable[[UnrollError, str, str], Response],
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        self._context = context
        self._render = render
        self._scope, self._receive, self._forward = scope, receive, send
        self._id = choose_request_id(scope["headers"])
        self._status = 0

    async def run(self, app: ASGIApp, *, is_open: bool) -> None:
        request_id.set(self._id)
        started = time.perf_counter()
        try:
            await self._answer(app, is_open)
        finally:
            self._record(time.perf_counter() - started)

    async def _answer(self, app: ASGIApp, is_open: bool) -> None:
        path = self._scope["path"]
        try:
            if not is_open:
                _let_in(self._context, self._scope)
            if path.startswith(_ALWAYS_SERVED):
                await app(self._scope, self._receive, self._send)
            else:
                with self._context.traffic.serving():
                    await app(self._scope, self._receive, self._send)
        except Exception as error:
            if self._status:
                raise  # half an answer is on its way: the server breaks the connection, which says so
            await self._render(ours(error), path, self._id)(self._scope, self._receive, self._send)

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            message["headers"] = [*message["headers"], (b"x-request-id", self._id.encode())]
        await self._forward(message)

    def _record(self, seconds: float) -> None:
        route = getattr(self._scope.get("route"), "path", "unmatched")
        self._context.metrics.on_request(route, self._scope["method"], self._status, seconds)
        log_request(self._scope["method"], self._scope["path"], self._status, seconds)
