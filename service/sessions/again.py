"""What another replica was faster at is asked again: the session has been loaded anew by then, and stands elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from service.errors import SessionMoved
from service.sessions.session import Session

P = ParamSpec("P")
T = TypeVar("T")

TRIES = 8
"""Times that one request is run before its client is told to come again: every time, another one was carried out."""


def again_if_moved(
    task: Callable[Concatenate[Session, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Session, P], Coroutine[Any, Any, T]]:
    """A task that changes nothing but by its commit, run again where that was refused."""

    @wraps(task)
    async def run(session: Session, /, *args: P.args, **kwargs: P.kwargs) -> T:
        for _ in range(TRIES - 1):
            try:
                return await task(session, *args, **kwargs)
            except SessionMoved:
                session = await session.home.current(session)
        return await task(session, *args, **kwargs)

    return run
