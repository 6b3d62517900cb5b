"""A connection that has had its last answer while its client still sends.

Closed at once, with bytes unread, it would be reset, and a client that was still sending would see the reset and not
the answer. So no more is sent, what comes is thrown away up to a bound, and the client has a moment to read and close.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

LINGERING_S = 2.0
_MOST_TAKEN = 2**20
"""Bytes that are thrown away; whoever sends more is not about to read."""


class Lingering(asyncio.Protocol):
    """Takes a connection over; `on_gone` is told when it is gone."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, on_gone: Callable[[], None]
    ) -> None:
        self._transport = transport
        self._on_gone = on_gone
        self._taken = 0
        self._timer = loop.call_later(LINGERING_S, transport.abort)
        transport.set_protocol(self)
        transport.resume_reading()
        if transport.can_write_eof():
            transport.write_eof()

    def data_received(self, data: bytes) -> None:
        self._taken += len(data)
        if self._taken > _MOST_TAKEN:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._on_gone()
