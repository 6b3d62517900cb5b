"""Every error in the shape of the protocol whose path was asked, with the headers that its status calls for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil

from starlette.responses import Response

from service.errors import UnrollError
from service.protocols.http_errors import MethodNotAllowed, UpgradeRequired

Renderer = Callable[[UnrollError, str], Response]
"""An answer in a protocol's own shape, from an error and the request's id."""


class Renderers:
    """The protocols' renderers.

    Args:
        by_beginning: by the beginning of the path, the first that fits; the last should fit all.
    """

    def __init__(self, by_beginning: Sequence[tuple[str, Renderer]]) -> None:
        self._by_beginning = by_beginning

    def render(self, error: UnrollError, path: str, identifier: str) -> Response:
        """The answer to a request of that path and id."""
        render = next(render for beginning, render in self._by_beginning if path.startswith(beginning))
        response = render(error, identifier)
        if error.status in (429, 503):
            response.headers["retry-after"] = str(max(1, ceil(getattr(error, "retry_after_s", 1.0))))
        if error.status == 401:
            response.headers["www-authenticate"] = "Bearer"
        if isinstance(error, MethodNotAllowed):
            response.headers["allow"] = error.allowed
        if isinstance(error, UpgradeRequired):
            response.headers.update({"upgrade": "websocket", "connection": "upgrade"})
        if error.status in (408, 413, 503):
            response.headers["connection"] = "close"
        return response
