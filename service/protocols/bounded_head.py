"""uvicorn's HTTP connection with a bound on how long a request's head may grow."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_MAX_HEAD_BYTES = 65_536


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
