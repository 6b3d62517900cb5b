"""Requests that have been let in: one that has begun goes on, however full the engine has become meanwhile.

A request may take several jobs: its prompt and then its pieces, a history and then its sample paths, many series. Only
the first is asked whether there is room; to refuse a later one would throw away what was done.
"""

from __future__ import annotations

from contextvars import ContextVar


class _Request:
    __slots__ = ("admitted",)

    def __init__(self) -> None:
        self.admitted = False


_request: ContextVar[_Request | None] = ContextVar("request", default=None)


def begin_request() -> None:
    """What follows in this context, and in the tasks begun in it, is one request, of which no job was let in yet."""
    _request.set(_Request())


def is_admitted() -> bool:
    """Whether a job of this request was let in; outside of any request every job is asked."""
    request = _request.get()
    return request is not None and request.admitted


def note_admitted() -> None:
    """A job of this request was let in."""
    request = _request.get()
    if request is not None:
        request.admitted = True
