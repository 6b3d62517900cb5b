"""How many connections are open, and the most that may be; how patient the service is with those that are slow."""

from __future__ import annotations

from typing import Literal, Protocol

Slow = Literal["head", "body", "frame", "unread", "answer"]
"""What took too long: a request's head or body, a WebSocket frame, reading answers; or the answer itself."""


class ConnectionWatch(Protocol):
    """What whoever counts is told of connections."""

    def on_open_connections(self, count: int) -> None: ...

    def on_refused_connection(self) -> None: ...

    def on_slow_client(self, what: str) -> None: ...


class Connections:
    """The open connections of a process. All methods belong to the event loop.

    Args:
        most: that are served at once; what comes beyond is told so and closed.
        request_s: within which a request, head and body, or a frame has to arrive, and in which a client has to take
            in part of what it has been answered.
        answer_s: within which a request has to be answered, and its answer read, in all.
    """

    def __init__(self, most: int, request_s: float, answer_s: float, watch: ConnectionWatch) -> None:
        self.most = most
        self.request_s = request_s
        self.answer_s = answer_s
        self.open = 0
        self._watch = watch

    def enter(self) -> bool:
        """Count one more connection; whether it may be served. It counts until it leaves, served or not."""
        self.open += 1
        self._watch.on_open_connections(self.open)
        if self.open <= self.most:
            return True
        self._watch.on_refused_connection()
        return False

    def leave(self) -> None:
        """A connection is gone."""
        self.open -= 1
        self._watch.on_open_connections(self.open)

    def cut(self, what: Slow) -> None:
        """A client is waited for no longer."""
        self._watch.on_slow_client(what)
