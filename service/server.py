"""The process that serves: uvicorn as the hot path wants it, and a shutdown that finishes or refuses."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from socket import socket

import uvicorn

from service.access.web import SECURITY_HEADERS
from service.app import create_app
from service.open_files import room_for
from service.protocols.context import Context
from service.protocols.hot.connection import HotConnection
from service.protocols.hot.websocket import HotWebSocket
from service.protocols.inference_v2.hot import HotInfer
from service.protocols.native.hot import HotObserve
from service.settings import Settings

_KEEP_ALIVE_S = 75
"""Seconds a connection may rest between two requests: clients that step once a minute keep theirs."""
_LAST_ANSWERS_S = 2
"""Seconds for answers to leave once nothing runs any more."""


class GracefulServer(uvicorn.Server):
    """On SIGTERM or SIGINT: refuse what is new, finish what runs within the grace, then stop. A second one hurries.

    Args:
        on_start: called with the port once requests are taken.
    """

    def __init__(self, config: uvicorn.Config, context: Context, on_start: Callable[[int], None]) -> None:
        super().__init__(config)
        self._context = context
        self._on_start = on_start

    async def startup(self, sockets: list[socket] | None = None) -> None:
        connections = self._context.connections
        connections.most = room_for(connections.most)
        await super().startup(sockets)
        if self.started:
            self._on_start(self.servers[0].sockets[0].getsockname()[1])

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        # The listening socket stays open meanwhile, so that who comes is told 503 and not left without an answer.
        grace = self._context.settings.shutdown_grace_s
        await self._context.traffic.drain(grace, lambda: self.force_exit)
        await self._context.service.stop(0)
        await self._context.traffic.drain(_LAST_ANSWERS_S, lambda: self.force_exit)
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: object) -> None:
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals while serving; a stop that was asked for is no failure of the process."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may listen to signals; whoever started another one stops it
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def make_server(settings: Settings, on_start: Callable[[Context, int], None]) -> GracefulServer:
    """A server of the application that these settings describe, ready to `run()`."""
    app = create_app(settings)
    context: Context = app.state.context
    routes = (HotObserve(context), HotInfer(context), HotInfer(context, versioned=True))
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=partial(HotConnection, context=context, routes=routes, renderers=app.state.renderers),  # type: ignore[arg-type]
        ws=partial(HotWebSocket, open_connections=context.connections),  # type: ignore[arg-type]
        ws_max_size=settings.max_request_bytes,
        ws_per_message_deflate=False,
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        headers=list(SECURITY_HEADERS),
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_LAST_ANSWERS_S,
    )
    return GracefulServer(config, context, lambda port: on_start(context, port))
