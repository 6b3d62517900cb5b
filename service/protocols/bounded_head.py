"""uvicorn's HTTP connection with a bound on how long a request's head may grow, and nothing added to it later."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_MAX_HEAD_BYTES = 65_536


class BoundedHeadProtocol(HttpToolsProtocol):
    """uvicorn's, except that headers and trailers without end are refused: its parser would keep all that comes.

    Trailers are read and dropped. uvicorn would add them to the headers of a request that is answered already, and
    that a proxy which checks heads has let through: a key among them would be believed.
    """

    _in_head = False
    _without_end = False
    """Whether lines are read, of a head or of what may be trailers: any chunk might be the last, whose body is none."""
    _line_bytes = 0
    """Of such lines that came in several parts, all but the first, which may hold the end of something else."""
    _is_first = False

    def data_received(self, data: bytes) -> None:
        self._is_first = False
        super().data_received(data)
        if self._without_end and not self._is_first and self.parser is not None:
            self._line_bytes += len(data)
            if self._line_bytes > _MAX_HEAD_BYTES and self._answering:
                self.transport.abort()  # in the middle of an answer
            elif self._line_bytes > _MAX_HEAD_BYTES:
                self.send_400_response(f"Expected at most {_MAX_HEAD_BYTES} bytes of request line and headers.")

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete

    def _reads_lines(self, now: bool) -> None:
        self._without_end, self._is_first, self._line_bytes = now, True, 0

    def on_message_begin(self) -> None:
        self._in_head = True
        self._reads_lines(True)
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._reads_lines(False)
        super().on_headers_complete()

    def on_chunk_header(self) -> None:
        self._reads_lines(True)

    def on_body(self, body: bytes) -> None:
        self._reads_lines(False)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._reads_lines(False)
        super().on_message_complete()
