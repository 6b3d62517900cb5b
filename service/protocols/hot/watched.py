"""uvicorn's HTTP connection with a bound on everything that its client can make it wait for.

A connection past the most that may be open is told so; a request has to arrive in time, be it trickled head or body;
answers have to be read; and a connection rests only so long between two requests.
"""

from __future__ import annotations

import asyncio
import time

from starlette.responses import PlainTextResponse, Response
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.server import ServerState

from service.errors import UnrollError
from service.protocols.boundary import new_request_id
from service.protocols.bounded_head import BoundedHeadProtocol
from service.protocols.connections import Connections, Slow
from service.protocols.hot.lingering import Lingering
from service.protocols.hot.patience import Looks, UnreadAnswers
from service.protocols.http_errors import AnswerTimeout, RequestTimeout, TooManyConnections
from service.protocols.rendering import Renderers


class WatchedConnection(BoundedHeadProtocol):
    """See the module."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, object],
        loop: asyncio.AbstractEventLoop | None,
        open_connections: Connections,
        renderers: Renderers,
    ) -> None:
        super().__init__(config, server_state, app_state, loop)
        self.renderers = renderers
        self._open = open_connections
        self._begun = self._complete = 0
        """Messages that uvicorn's parser has begun to read, and those it has read whole."""
        self._active_at = 0.0
        self._arrives: Slow | None = None
        """What of a request is waited for; its first byte, where none is said."""
        self._arrives_since: float | None = None
        self._asked_since: float | None = None
        self._unread = UnreadAnswers(open_connections.request_s, open_connections.answer_s)
        self._looks: Looks | None = None
        self._ended = False
        """Whether no more may be said, if only because the last word was."""

    @property
    def _between_messages(self) -> bool:
        """Whether the next byte begins a request, and every answer before it has been written."""
        return self._begun == self._complete and (self.cycle is None or self.cycle.response_complete)

    @property
    def _rests(self) -> bool:
        """Whether nothing is asked for and nothing is to be answered."""
        return self._between_messages

    @property
    def _waits_since(self) -> float | None:
        """Since when a request that has come whole waits for its answer."""
        return self._asked_since

    @property
    def _asked_path(self) -> str:
        """The path of the request that arrives, as far as it is known."""
        return str((self.scope or {}).get("path", "/"))

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._active_at = self._arrives_since = time.perf_counter()
        if self._open.enter():
            shortest_s = min(self._open.request_s, self._open.answer_s, self.timeout_keep_alive)
            self._looks = Looks(self.loop, shortest_s, self._look)
        else:
            most = self._open.most
            self._end_with(TooManyConnections(f"{most} connections are open already: try again later"))

    def _waits_for(self, what: Slow) -> None:
        """Some of a request has come; the rest has to in time."""
        self._arrives = what
        if self._arrives_since is None:
            self._arrives_since = time.perf_counter()

    def on_message_begin(self) -> None:
        self._begun += 1
        self._waits_for("head")
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._arrives = "body"
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._complete += 1
        self._arrives_since = None
        if self._asked_since is None:
            self._asked_since = time.perf_counter()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        is_last = not self.pipeline
        super().on_response_complete()
        self._active_at = time.perf_counter()
        self._asked_since = None if is_last else self._active_at

    def resume_writing(self) -> None:
        self._unread.on_read()
        super().resume_writing()

    def _look(self) -> None:
        """See whether the client is slower than it may be."""
        now, unread = time.perf_counter(), self.transport.get_write_buffer_size()
        if self._unread.waited_too_long(now, unread):
            self._open.cut("unread")
            self.transport.abort()  # closing would wait for it to be read
        elif self.transport.is_closing():
            return
        elif self._arrives_since is not None:
            if self.flow.read_paused:
                self._arrives_since = now  # it is us who do not read
            elif now - self._arrives_since > self._open.request_s:
                self._give_up_request()
        elif (since := self._waits_since) is not None and now - since > self._open.answer_s:
            self._give_up("answer", AnswerTimeout(self._open.answer_s))
        elif self._rests and not unread and now - self._active_at >= self.timeout_keep_alive:
            self.transport.close()

    def timeout_keep_alive_handler(self) -> None:
        if not self.transport.get_write_buffer_size():
            super().timeout_keep_alive_handler()

    def _give_up_request(self) -> None:
        if self._arrives is None:
            self.transport.close()  # it has never said anything
            return
        error = RequestTimeout(
            f"the request's {self._arrives} did not arrive within {self._open.request_s:g} seconds: nothing was done"
        )
        self._give_up(self._arrives, error)

    def _give_up(self, what: Slow, error: UnrollError) -> None:
        self._open.cut(what)
        answering = self.cycle is not None and not self.cycle.response_complete
        if self.pipeline or (answering and (what == "head" or self.cycle.response_started)):
            self.transport.abort()  # in the middle of an answer, of this request or of one before
        else:
            self._end_with(error)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request in uvicorn's own words, so that whoever still sends can read them."""
        response = PlainTextResponse(msg, 400)
        response.raw_headers.reverse()  # as uvicorn has them
        self._say_last(response)

    def _end_with(self, error: UnrollError) -> None:
        """Answer with an error, whatever the client is at, and have done with it."""
        self._say_last(self.renderers.render(error, self._asked_path, new_request_id()))

    def _say_last(self, response: Response) -> None:
        headers = [*self.server_state.default_headers, *response.raw_headers]
        if "connection" not in response.headers:
            headers.append((b"connection", b"close"))
        lines = [STATUS_LINE[response.status_code], *(name + b": " + value + b"\r\n" for name, value in headers)]
        self.transport.write(b"".join((*lines, b"\r\n", bytes(response.body))))
        Lingering(self.loop, self.transport, self._open.leave)
        self._forget(ConnectionAbortedError())

    def handle_websocket_upgrade(self) -> None:
        if self._looks is not None:
            self._looks.stop()
        super().handle_websocket_upgrade()

    def connection_lost(self, exc: Exception | None) -> None:
        self._open.leave()
        self._forget(exc)

    def _forget(self, exc: Exception | None) -> None:
        self._ended = True
        if self._looks is not None:
            self._looks.stop()
        super().connection_lost(exc)
