"""What the connection asks of a hot route, and what a route may ask of the exchange it begins."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from service.access.caller import Caller
from service.engine.job import Outcome, Result
from service.errors import SessionMoved, UnrollError
from service.protocols.boundary import ours
from service.protocols.hot.head import Head
from service.sessions.step import Step

T = TypeVar("T")


class Exchange(Protocol):
    """One request whose answer is still to come. Exactly one of its methods is called, once, on the event loop."""

    def answer(self, body: bytes, media_type: bytes = b"application/json", headers: bytes = b"") -> None:
        """Answer 200 with a body; `headers` are lines of their own, each ended, before those that every answer has."""

    def fail(self, error: UnrollError) -> None:
        """Answer with an error, as the application would."""


class HotRoute(Protocol):
    """A route that may be served below ASGI."""

    @property
    def template(self) -> str:
        """The path's template, as metrics name it."""

    def matches(self, path: bytes) -> bool:
        """Whether a path is this route's."""

    def begin(self, head: Head, body: bytes, caller: Caller, exchange: Exchange) -> bool:
        """Begin to serve the request of a caller who may use sessions; answer through `exchange` later, never at once.

        False where the request is not for the short way; then nothing was begun, and the application is to have it.
        """


Written = tuple[bytes, ...]
"""What to call `Exchange.answer` with."""


def tell(
    exchange: Exchange,
    write: Callable[[Step, Result], Written],
    again: Callable[[], Coroutine[Any, Any, Written]],
    step: Step,
    outcome: Outcome,
) -> None:
    """Answer with what became of a request's step.

    Args:
        write: the answer, from the result; should it fail, that is told like any failure.
        again: the answer the long way, where another replica was faster at the step.
    """
    if isinstance(outcome, SessionMoved):
        run_aside(again(), lambda answer: exchange.answer(*answer), exchange.fail)
        return
    if isinstance(outcome, UnrollError):
        exchange.fail(outcome)
        return
    try:
        answer = write(step, outcome)
    except Exception as error:
        exchange.fail(ours(error))
        return
    exchange.answer(*answer)


_aside: set[asyncio.Task[None]] = set()


def run_aside(work: Coroutine[Any, Any, T], answer: Callable[[T], None], fail: Callable[[UnrollError], None]) -> None:
    """Carry out the long way what cannot be answered the short way after all."""

    async def run() -> None:
        try:
            result = await work
        except Exception as error:
            fail(ours(error))
        else:
            answer(result)

    task = asyncio.ensure_future(run())
    _aside.add(task)
    task.add_done_callback(_aside.discard)


class FrameExchange(Protocol):
    """One WebSocket frame whose answer is still to come. Exactly one of its methods is called, once."""

    def answer(self, payload: bytes) -> None:
        """Answer with a frame of the same kind, text or binary."""

    def fail(self, error: UnrollError, identifier: str | int | None) -> None:
        """Leave it to the application to tell of an error about the frame that the client calls `identifier`."""


class HotFrames(Protocol):
    """Who may answer frames of one connection below ASGI."""

    def begin(self, payload: bytes, binary: bool, exchange: FrameExchange) -> bool:
        """Begin to answer a whole message, later, never at once; False leaves it to the application."""
