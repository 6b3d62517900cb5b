"""The process that serves: uvicorn as the hot path wants it, and a shutdown that finishes or refuses."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socket import socket

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.app import create_app
from service.protocols.context import Context
from service.settings import Settings

_MAX_HEAD_BYTES = 65_536
_KEEP_ALIVE_S = 75
"""Seconds a connection may rest between two requests: clients that step once a minute keep theirs."""
_LAST_ANSWERS_S = 2
"""Seconds for answers to leave once nothing runs any more."""


class BoundedHeadProtocol(HttpToolsProtocol):
    """uvicorn's, except that a request line and headers without end are refused: it would keep all that comes."""

    _in_head = False
    _head_bytes = 0
    """Of a head that came in several parts, all but the first, which may hold the end of another request."""

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_HEAD_BYTES:
                self.send_400_response(f"Expected at most {_MAX_HEAD_BYTES} bytes of request line and headers.")
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()


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
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=BoundedHeadProtocol,
        ws="websockets-sansio",
        ws_max_size=settings.max_request_bytes,
        ws_per_message_deflate=False,
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_LAST_ANSWERS_S,
    )
    return GracefulServer(config, context, lambda port: on_start(context, port))
