"""Which way was taken: every answer that is written below the application is noted, and no other way can be chosen."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from service.protocols.hot.connection import HotConnection
from service.protocols.hot.websocket import HotWebSocket
from tests.service.protocols.hot.raw import PATIENCE_S, Raw, eventually


class Noted:
    """What was answered below the application, and the connections that were made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.statuses: list[int] = []
        self.frames = self.errors = 0
        self.connections: list[HotConnection] = []
        self._application_only = False
        made, begin, answer = HotConnection.connection_made, HotConnection._begin, HotConnection.write_answer
        frame, error, is_free = HotWebSocket.write_frame, HotWebSocket.pass_error, HotWebSocket._is_free

        def on_made(connection: HotConnection, transport: Any) -> None:
            made(connection, transport)
            self.connections.append(connection)

        def on_begin(connection: HotConnection, data: bytes) -> int:
            return 0 if self._application_only else begin(connection, data)

        def on_answer(connection: HotConnection, exchange: Any, status: int, *rest: Any, **named: Any) -> None:
            self.statuses.append(status)
            answer(connection, exchange, status, *rest, **named)

        def on_frame(connection: HotWebSocket, *rest: Any) -> None:
            self.frames += 1
            frame(connection, *rest)

        def on_is_free(connection: HotWebSocket) -> bool:
            return not self._application_only and is_free(connection)

        def on_error(connection: HotWebSocket, *rest: Any) -> None:
            self.errors += 1
            error(connection, *rest)

        for kind, name, noting in (
            (HotConnection, "connection_made", on_made),
            (HotConnection, "_begin", on_begin),
            (HotConnection, "write_answer", on_answer),
            (HotWebSocket, "write_frame", on_frame),
            (HotWebSocket, "pass_error", on_error),
            (HotWebSocket, "_is_free", on_is_free),
        ):
            monkeypatch.setattr(kind, name, noting)

    @property
    def all(self) -> int:
        """Answers written below the application."""
        return len(self.statuses) + self.frames + self.errors

    @contextmanager
    def through_the_application(self) -> Iterator[None]:
        """Have the application answer every request and message meanwhile."""
        self._application_only = True
        try:
            yield
        finally:
            self._application_only = False

    def connection_of(self, raw: Raw) -> HotConnection:
        """The server's side of a connection."""
        address = raw.socket.getsockname()

        def found() -> list[HotConnection]:
            # Another may have come from the same port before.
            return [one for one in self.connections if one.client == address and not one.transport.is_closing()]

        eventually(lambda: bool(found()))
        return found()[-1]

    def socket_of(self, raw: Raw) -> HotWebSocket:
        """The server's side of a connection that has become a WebSocket."""
        protocol = self.connection_of(raw).transport.get_protocol()
        assert isinstance(protocol, HotWebSocket)
        return protocol

    def receive_at(self, raw: Raw, pieces: Sequence[bytes]) -> None:
        """Have the server receive these pieces, exactly so cut."""
        connection = self.connection_of(raw)

        async def feed() -> None:
            for piece in pieces:
                protocol: Any = connection.transport.get_protocol()
                if not connection.transport.is_closing():
                    protocol.data_received(piece)
                await asyncio.sleep(0)

        asyncio.run_coroutine_threadsafe(feed(), connection.loop).result(PATIENCE_S)
