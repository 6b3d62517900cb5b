"""Writing answers: JSON, server-sent events, and stopping what runs for a client that went away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.errors import Cancelled
from service.protocols.http_errors import AnswerTimeout

T = TypeVar("T")


def _plain(value: Any) -> Any:
    """JSON for what numpy gives; NaN becomes null."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"no JSON for {type(value).__name__}")


_encoder = msgspec.json.Encoder(enc_hook=_plain)
to_json = _encoder.encode
"""JSON bytes of structs, dictionaries and arrays; numbers that are not finite become null."""


_ROWS_AT_ONCE = 256


async def json_rows(rows: NDArray[Any], prepare: Callable[[Any], Any] = lambda part: part) -> msgspec.Raw:
    """A long list as JSON, written some rows at a time, so that others get their turn in between.

    Args:
        prepare: what to write in place of each part of the rows.
    """
    parts: list[bytes] = []
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        if start:
            await asyncio.sleep(0)
        parts.append(to_json(prepare(rows[start : start + _ROWS_AT_ONCE]))[1:-1])
    return msgspec.Raw(b"[" + b",".join(parts) + b"]")


_NUMBERS_AT_ONCE = 10_000
_SET_ASIDE = b"\0"
"""Stands for an array while the rest is written; JSON has no such byte."""


async def json_in_turns(content: Any) -> bytes:
    """The JSON of `to_json`, of what may hold large arrays, written so that others get their turn in between."""
    arrays: list[NDArray[Any]] = []

    def set_aside(value: Any) -> Any:
        if not isinstance(value, np.ndarray) or value.ndim == 0:
            return _plain(value)
        arrays.append(value)
        return msgspec.Raw(_SET_ASIDE)

    first, *rest = msgspec.json.encode(content, enc_hook=set_aside).split(_SET_ASIDE)
    parts, numbers = [first], 0
    for array, after in zip(arrays, rest, strict=True):
        rows = max(1, _NUMBERS_AT_ONCE // max(1, array[:1].size))
        written: list[bytes] = []
        for start in range(0, len(array), rows):
            if numbers >= _NUMBERS_AT_ONCE:
                numbers = 0
                await asyncio.sleep(0)
            part = array[start : start + rows]
            numbers += part.size
            written.append(to_json(part)[1:-1])
        parts += (b"[", b",".join(written), b"]", after)
    return b"".join(parts)


async def large_json_answer(content: Any, headers: Mapping[str, str] | None = None) -> Response:
    """An answer whose body is `content` in JSON, which may be long."""
    return Response(await json_in_turns(content), headers=headers, media_type="application/json")


def json_answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer whose body is `content` in JSON."""
    return Response(to_json(content), status, headers, media_type="application/json")


async def until_gone(request: Request, work: Awaitable[T]) -> T:
    """Await `work`, and cancel it should the client go away before.

    Raises:
        Cancelled: the client went away.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request.receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Cancelled("the client went away")
        return task.result()
    finally:
        await stop(task, gone)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


@asynccontextmanager
async def answered_within(seconds: float) -> AsyncIterator[None]:
    """Give up what takes longer to be answered.

    Raises:
        AnswerTimeout: it did.
    """
    try:
        async with asyncio.timeout(seconds) as bound:
            yield
    except TimeoutError:
        if bound.expired():
            raise AnswerTimeout(seconds) from None
        raise


async def stop(*tasks: asyncio.Future[Any]) -> None:
    """Cancel what still runs, and wait until it has ended."""
    for task in tasks:
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


class EventStream(Response):
    """Server-sent events; what makes them is closed at the end, and at once should the client go away.

    Args:
        events: the data of each event, in order; errors are its own to turn into a last event.
        source: what the events are made from.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[bytes], source: AsyncGenerator[Any, None]) -> None:
        self._events = events
        self._source = source
        self.status_code = 200
        self.background = None
        self.init_headers({"x-accel-buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = asyncio.ensure_future(self._send(send))
        gone = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            await stop(sending, gone)
            await self._source.aclose()

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async for event in self._events:
            await send({"type": "http.response.body", "body": b"data: " + event + b"\n\n", "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def as_generator(items: AsyncIterator[T]) -> AsyncGenerator[T, None]:
    """The same items, closing `items` when it is closed itself."""
    try:
        async for item in items:
            yield item
    finally:
        close = getattr(items, "aclose", None)
        if close is not None:
            await close()
