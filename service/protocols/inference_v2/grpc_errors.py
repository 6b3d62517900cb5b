"""Errors as gRPC tells them: a status code, the message, and in trailing metadata whatever else a client may act on."""

from __future__ import annotations

from grpc import StatusCode

from service.errors import PositionConflict, SessionExists, UnrollError
from service.protocols.http_errors import PathNotFound

_OF_KINDS: dict[type[UnrollError], StatusCode] = {
    PathNotFound: StatusCode.UNIMPLEMENTED,
    SessionExists: StatusCode.ALREADY_EXISTS,
}
_OF_STATUSES = {
    400: StatusCode.INVALID_ARGUMENT,
    401: StatusCode.UNAUTHENTICATED,
    403: StatusCode.PERMISSION_DENIED,
    404: StatusCode.NOT_FOUND,
    405: StatusCode.UNIMPLEMENTED,
    408: StatusCode.DEADLINE_EXCEEDED,
    409: StatusCode.ABORTED,
    410: StatusCode.FAILED_PRECONDITION,
    413: StatusCode.RESOURCE_EXHAUSTED,  # which is what gRPC itself says to a message that is too long
    415: StatusCode.INVALID_ARGUMENT,
    422: StatusCode.INVALID_ARGUMENT,
    426: StatusCode.UNIMPLEMENTED,
    429: StatusCode.UNAVAILABLE,  # as Triton does: nothing was done, so that clients may try again
    499: StatusCode.CANCELLED,
    500: StatusCode.INTERNAL,
    503: StatusCode.UNAVAILABLE,
}

_SHOWN = 800
"""Characters of a message: clients refuse a call whose headers, in which each may take 12 bytes, pass some 16 KiB."""

Metadata = tuple[tuple[str, str], ...]


def code_of(error: UnrollError) -> StatusCode:
    """The status code a client sees."""
    return _OF_KINDS.get(type(error)) or _OF_STATUSES.get(error.status, StatusCode.UNKNOWN)


def details_of(error: UnrollError) -> str:
    """The message a client sees, cut where a header could not hold it."""
    return error.message if len(error.message) <= _SHOWN else error.message[:_SHOWN] + "…"


def trailing_metadata(error: UnrollError, request_id: str) -> Metadata:
    """What goes with the status: our code, the request's id, both positions of a conflict, when to come back."""
    told = [("x-request-id", request_id), ("unroll-code", error.code)]
    if isinstance(error, PositionConflict):
        told += [("unroll-position", str(error.position)), ("unroll-durable-position", str(error.durable_position))]
    if error.status in (429, 503):
        # gRPC's own name for it: clients with a retry policy obey.
        told.append(("grpc-retry-pushback-ms", str(round(1000 * getattr(error, "retry_after_s", 1.0)))))
    return tuple(told)
