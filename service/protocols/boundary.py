"""The one error boundary: request ids, metrics, and every error rendered in the shape of the protocol it belongs to.

Pure ASGI around all routes. WebSocket connections pass through; their loop renders its own errors.
"""

from __future__ import annotations

import itertools
import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable, Sequence

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import UnrollError
from service.logging_setup import request_id
from service.protocols.context import Context
from service.protocols.http_errors import InternalError, MethodNotAllowed, PathNotFound
from service.protocols.rendering import Renderers

request_log = logging.getLogger("service.requests")

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_ALWAYS_SERVED = ("/health/", "/metrics", "/v2/health/")
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
    raise PathNotFound(f"{path}: nothing is served here; /docs lists what is")


def _methods_at(path: str, routes: Sequence[BaseRoute]) -> set[str]:
    here = [route for route in routes if isinstance(route, Route) and route.path_regex.match(path)]
    return {method for route in here for method in route.methods or ()}


class Boundary:
    """ASGI middleware; see the module."""

    def __init__(self, app: ASGIApp, context: Context, renderers: Renderers) -> None:
        self._app = app
        self._context = context
        self._renderers = renderers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await _Exchange(self._context, self._renderers.render, scope, receive, send).run(self._app)
        else:
            await self._app(scope, receive, send)


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

    async def run(self, app: ASGIApp) -> None:
        request_id.set(self._id)
        started = time.perf_counter()
        try:
            await self._answer(app)
        finally:
            self._record(time.perf_counter() - started)

    async def _answer(self, app: ASGIApp) -> None:
        path = self._scope["path"]
        try:
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
