"""What only HTTP can get wrong, as errors of ours, and what the unexpected is answered with."""

from __future__ import annotations

from service.errors import UnrollError


class PathNotFound(UnrollError):
    """Nothing is served under that path."""

    code, status, close_code = "path_not_found", 404, 4404


class MethodNotAllowed(UnrollError):
    """The path is served, but not with that method."""

    code, status, close_code = "method_not_allowed", 405, 1008

    def __init__(self, message: str, *, allowed: str) -> None:
        super().__init__(message)
        self.allowed = allowed


class InternalError(UnrollError):
    """Something unexpected, whose details are in the log alone."""

    code, status, close_code = "internal_error", 500, 1011

    def __init__(self) -> None:
        super().__init__("internal error: the service's log has the details under this request id")
