"""The one error boundary: request ids, metrics, and every error rendered in the shape of the protocol it belongs to.

Pure ASGI around all routes. WebSocket connections pass through; their loop renders its own errors.
"""

from __future__ import annotations

import itertools
import logging
import re
import secrets
import time
from collections.abc import Callable, Sequence

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import Overloaded, ShuttingDown, UnrollError
from service.logging_setup import request_id
from service.protocols.context import Context
from service.protocols.http_errors import InternalError, MethodNotAllowed, PathNotFound

log = logging.getLogger("service.requests")

Renderer = Callable[[UnrollError, str], Response]
"""An answer in a protocol's own shape, from an error and the request's id."""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_ALWAYS_SERVED = ("/health/", "/metrics")
_LEVELS = {500: logging.ERROR, 503: logging.WARNING}
"""Levels at which requests are logged, by status; a shutdown refuses many, and none of that is an error."""

_process = secrets.token_hex(6)
_numbers = itertools.count()


def choose_request_id(scope: Scope) -> str:
    """The client's request id where it sent a usable one, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return str(value, "ascii")
    return f"{_process}{next(_numbers):08x}"


def ours(error: Exception) -> UnrollError:
    """The error a client is told of; what is not ours is logged with its trace and told of barely."""
    if isinstance(error, UnrollError):
        return error
    log.error("unexpected error", exc_info=error)
    return InternalError()


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
    """ASGI middleware; see the module.

    Args:
        renderers: by the beginning of the path, the first that fits; the last should fit all.
    """

    def __init__(self, app: ASGIApp, context: Context, renderers: Sequence[tuple[str, Renderer]]) -> None:
        self._app = app
        self._context = context
        self._renderers = renderers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await _Exchange(self._context, self._render, scope, receive, send).run(self._app)
        else:
            await self._app(scope, receive, send)

    def _render(self, error: UnrollError, path: str, identifier: str) -> Response:
        render = next(render for beginning, render in self._renderers if path.startswith(beginning))
        response = render(error, identifier)
        if isinstance(error, Overloaded | ShuttingDown):
            response.headers["retry-after"] = str(max(1, round(getattr(error, "retry_after_s", 1.0))))
        if isinstance(error, MethodNotAllowed):
            response.headers["allow"] = error.allowed
        if error.status in (413, 503):
            response.headers["connection"] = "close"
        return response


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
        self._id = choose_request_id(scope)
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
        level = _LEVELS.get(self._status, logging.DEBUG)
        if log.isEnabledFor(level):
            facts = {"method": self._scope["method"], "path": self._scope["path"], "status": self._status}
            log.log(level, "request", extra=facts | {"seconds": round(seconds, 6)})
