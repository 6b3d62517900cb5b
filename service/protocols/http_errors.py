"""What only HTTP can get wrong, as errors of ours, and what the unexpected is answered with."""

from __future__ import annotations

from service.errors import Overloaded, UnrollError


class PathNotFound(UnrollError):
    """Nothing is served under that path."""

    code, status, close_code = "path_not_found", 404, 4404


class MethodNotAllowed(UnrollError):
    """The path is served, but not with that method."""

    code, status, close_code = "method_not_allowed", 405, 1008

    def __init__(self, message: str, *, allowed: str) -> None:
        super().__init__(message)
        self.allowed = allowed


class RequestTimeout(UnrollError):
    """The request did not arrive in time; nothing was done."""

    code, status, close_code = "request_timeout", 408, 1008


class AnswerTimeout(UnrollError):
    """The request was not answered in time; whether it was carried out is not known."""

    code, status, close_code = "answer_timeout", 503, 1013

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"the request was not answered whole within {seconds:g} seconds, and is given up: ask for less at once; "
            "one with a position or a key may be asked again, and is carried out once"
        )


class TooManyConnections(Overloaded):
    """As many connections are open as may be; nothing was read."""

    code, status = "too_many_connections", 503


class UnsupportedCoding(UnrollError):
    """The body came in a coding that this path does not undo."""

    code, status, close_code = "unsupported_coding", 415, 1003


class UpgradeRequired(UnrollError):
    """The path is a WebSocket's, and was asked for over plain HTTP."""

    code, status, close_code = "upgrade_required", 426, 1002


class InternalError(UnrollError):
    """Something unexpected, whose details are in the log alone."""

    code, status, close_code = "internal_error", 500, 1011

    def __init__(self) -> None:
        super().__init__("internal error: the service's log has the details under this request id")
