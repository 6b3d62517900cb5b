"""`POST /v1/observe`: the next steps of many sessions in one request, each answered by itself.

In JSON `{"sessions": [{"session_id": …, …}, …]}`, with the fields of a session's own `observe`, is answered by
`{"data": [{"session_id": …, …}, …]}` in the same order; a session that fails has an `error` there and costs the
others nothing. As `application/octet-stream`, all little-endian:

    request   for each session: uint16 n, n bytes of the session's id, a binary frame
    answer    for each session: uint32 n, then n bytes: a binary frame, or an error in JSON, which begins with "{"

The frames are those of a session's WebSocket.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from service.access.caller import own
from service.engine.job import Outcome, Result
from service.errors import BadRequest, SessionMoved, UnrollError
from service.logging_setup import request_id
from service.protocols.answering import to_json
from service.protocols.arrays import LARGEST
from service.protocols.boundary import ours
from service.protocols.bounds import at_most
from service.protocols.context import Context, context_of
from service.protocols.hot.routes import run_aside
from service.protocols.native import frames, messages, transitions
from service.protocols.native.at_once import observed, steps_of, written
from service.protocols.native.errors import error_body
from service.protocols.reading import Message, decode, read_body
from service.sessions.ownership import SessionKey
from service.sessions.session import Session
from service.sessions.step import Step
from service.sessions.transition import NOTHING_EXPECTED, Expected
from service.tasks.forecast import observe_at_once
from service.tasks.series_inputs import Values

_BINARY = "application/octet-stream"
_ID_LENGTH, _ANSWER_LENGTH = struct.Struct("<H"), struct.Struct("<I")

Render = Callable[[Step, Result], bytes]
Answer = Callable[[], Coroutine[Any, Any, bytes]]
Last = dict[SessionKey, asyncio.Future[bytes]]
"""The last answer to come of each session that is named in a request."""


class SessionSteps(messages.ObserveBody, kw_only=True):
    """The next steps of one session: the fields of its own `observe`, and whose they are."""

    session_id: str
    idempotency_key: str | None = None


class ObserveSessionsBody(Message):
    """The next steps of many sessions. One that is named twice takes its steps in the order given."""

    sessions: list[SessionSteps]


async def observe_sessions(request: Request) -> Response:
    """Observe the next steps of many sessions in one request.

    Each is answered by itself, in the same order; one that fails has an `error` and costs the others nothing.

    As `application/octet-stream`, all little-endian, the request holds for each session uint16 n, n bytes of its id
    and a binary frame (see the WebSocket); the answer holds for each uint32 n and n bytes: a binary frame, or an error
    in JSON, which begins with "{".
    """
    context = context_of(request)
    body = await read_body(request, context.settings.max_request_bytes)
    last: Last = {}
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == _BINARY:
        records = read_records(body, context.settings.max_inputs)
        answers = await asyncio.gather(*(_answer_frame(context, own(name), frame, last) for name, frame in records))
        return Response(b"".join(_ANSWER_LENGTH.pack(len(one)) + one for one in answers), media_type=_BINARY)
    sessions = decode(ObserveSessionsBody, body).sessions
    at_most(len(sessions), context.settings.max_inputs, "sessions", "max_inputs", "sessions")
    answers = await asyncio.gather(*(_answer_steps(context, steps, last) for steps in sessions))
    return Response(b'{"data":[' + b",".join(answers) + b"]}", media_type="application/json")


def read_records(body: bytes, most: int) -> list[tuple[str, bytes]]:
    """The session ids and frames of a binary request.

    Raises:
        BadRequest: the body ends within a record, or an id is no text.
        RequestTooLarge: there are more than `most`.
    """
    records: list[tuple[str, bytes]] = []
    start = 0
    while start < len(body):
        at_most(len(records) + 1, most, "sessions", "max_inputs", "sessions")
        try:
            (length,) = _ID_LENGTH.unpack_from(body, start)
            name = body[start + _ID_LENGTH.size : start + _ID_LENGTH.size + length].decode()
            start += _ID_LENGTH.size + length
            size = frames.length_of(body, start)
        except (struct.error, UnicodeDecodeError):
            raise BadRequest(
                f"body: record {len(records)}: expected uint16 n, n bytes of a session's id in UTF-8 and a binary frame"
            ) from None
        if start + size > len(body):
            raise BadRequest(f"body: record {len(records)}: expected a frame of {size} bytes, got {len(body) - start}")
        records.append((name, body[start : start + size]))
        start += size
    return records


def _answer_steps(context: Context, asked: SessionSteps, last: Last) -> asyncio.Future[bytes]:
    """One session's answer in JSON, an error included."""
    head = b'{"session_id":%b,' % to_json(asked.session_id)
    key = own(asked.session_id)
    session = None if key in last else context.service.store.find(key)
    if session is not None and asked.values and asked.timestamps is None and asked.idempotency_key is None:
        with np.errstate(over="ignore"):
            steps = steps_of(session.model, asked.values, asked.future_covariates)
        plain = asked.text is None and asked.tokens is None
        if plain and steps is not None and not (np.abs(np.array(steps, np.float64)) >= LARGEST).any():
            again = partial(_steps_the_long_way, context, key, asked, head)
            begun = _begin(
                *(context, session, steps, asked.position, lambda *told: head + observed(*told)[1:], again, head)
            )
            if begun is not None:
                last[key] = begun
                return begun
    return _in_order(last, key, partial(_steps_the_long_way, context, key, asked, head))


async def _steps_the_long_way(context: Context, key: SessionKey, asked: SessionSteps, head: bytes) -> bytes:
    try:
        session = await context.service.store.get(key)
        return head + to_json(await transitions.observe(context, session, asked, asked.idempotency_key))[1:]
    except Exception as error:
        return _told(error, head)


def _answer_frame(context: Context, key: SessionKey, frame: bytes, last: Last) -> asyncio.Future[bytes]:
    """One session's answer as a binary frame, or an error in JSON."""
    session = None if key in last else context.service.store.find(key)
    if session is not None:
        try:
            asked = frames.read_observe(frame)
        except UnrollError:
            pass  # told the long way
        else:
            render = partial(written, number=asked.number, scored=asked.wants_scores)
            again = partial(_frame_the_long_way, context, key, frame)
            if (begun := _begin(context, session, asked.steps, asked.position, render, again)) is not None:
                last[key] = begun
                return begun
    return _in_order(last, key, partial(_frame_the_long_way, context, key, frame))


def _in_order(last: Last, key: SessionKey, answer: Answer) -> asyncio.Future[bytes]:
    """An answer begun when the session's one before is there: that one may take another try, and must stay first."""

    async def after(earlier: asyncio.Future[bytes] | None) -> bytes:
        if earlier is not None:
            await asyncio.wait([earlier])
        return await answer()

    last[key] = asyncio.ensure_future(after(last.get(key)))
    return last[key]


async def _frame_the_long_way(context: Context, key: SessionKey, frame: bytes) -> bytes:
    try:
        return await transitions.observe_frame(context, await context.service.store.get(key), frame)
    except Exception as error:
        return _told(error)


def _begin(
    context: Context,
    session: Session,
    steps: Values | list[float | None],
    position: int | None,
    render: Render,
    again: Callable[[], Coroutine[Any, Any, bytes]],
    head: bytes = b"{",
) -> asyncio.Future[bytes] | None:
    """An answer to come, where the steps could be begun at once; an error begins with `head`.

    Args:
        again: answers the long way, where another replica was faster at these steps.
    """
    answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    identifier = request_id.get()  # the outcome is told in the course of no request, or of another's

    def settle_with(told: bytes) -> None:
        if not answer.done():
            answer.set_result(told)

    def settle(step: Step, outcome: Outcome) -> None:
        if answer.done():
            return  # the client has gone
        if isinstance(outcome, SessionMoved):
            run_aside(again(), settle_with, lambda error: settle_with(_told(error, head, identifier)))
            return
        try:
            told = _told(outcome, head, identifier) if isinstance(outcome, UnrollError) else render(step, outcome)
        except Exception as error:
            told = _told(error, head, identifier)
        settle_with(told)

    expected = NOTHING_EXPECTED if position is None else Expected(position)
    if observe_at_once(session, steps, settle, expected=expected, limits=context.limits):
        return answer
    return None


def _told(error: Exception, head: bytes = b"{", identifier: str | None = None) -> bytes:
    return head + to_json(error_body(ours(error), identifier or request_id.get() or ""))[1:]
