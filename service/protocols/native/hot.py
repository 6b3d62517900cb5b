"""Observing with a forecaster, below ASGI: `POST /v1/sessions/{id}/observe` and a session's WebSocket.

The message in, the task, the answer out; each answer has the bytes that the application would write.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal, NamedTuple

import msgspec

from service.engine.job import Outcome, Result
from service.errors import SessionMoved, UnrollError
from service.models.model import Model
from service.protocols.answering import to_json
from service.protocols.arrays import BoundedNumber
from service.protocols.boundary import ours
from service.protocols.context import Context
from service.protocols.hot.head import Head
from service.protocols.hot.routes import Exchange, FrameExchange, Written, run_aside, tell
from service.protocols.native import frames, transitions
from service.protocols.native.at_once import observed, steps_of, written
from service.protocols.native.messages import ObserveBody, Position
from service.protocols.native.stream_messages import Identifier, ObserveFrame
from service.protocols.reading import Message, decode
from service.protocols.session_use import expected
from service.sessions.step import Step
from service.sessions.transition import NOTHING_EXPECTED, Expected
from service.tasks.forecast import observe_at_once
from service.tasks.series_inputs import Values

STREAM = "/v1/sessions/{session_id}/stream"
_BEGINNING, _END = b"/v1/sessions/", b"/observe"


class _Values(Message):
    """The part of `ObserveBody` that takes the short way; a body with anything else does not decode."""

    values: Annotated[list[BoundedNumber], msgspec.Meta(min_length=1)]
    future_covariates: dict[str, list[BoundedNumber]] | None = None
    position: Position | None = None


_decode = msgspec.json.Decoder(_Values).decode


class HotObserve:
    """The hot route; see `HotRoute`."""

    template = "/v1/sessions/{session_id}/observe"

    def __init__(self, context: Context) -> None:
        self._context = context

    def matches(self, path: bytes) -> bool:
        return path.startswith(_BEGINNING) and path.endswith(_END) and path.count(b"/") == 4

    def begin(self, head: Head, body: bytes, exchange: Exchange) -> bool:
        session = self._context.service.store.find(head.path[len(_BEGINNING) : -len(_END)].decode())
        if session is None:
            return False
        try:
            asked = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        steps = steps_of(session.model, asked.values, asked.future_covariates)
        if steps is None:
            return False
        when, key = NOTHING_EXPECTED, head.headers.get(b"idempotency-key")
        if asked.position is not None or key is not None:
            try:
                when = expected(asked.position, None if key is None else key.decode())
            except UnrollError:
                return False
        then = partial(tell, exchange, _answer, partial(self._again, session.id, body, when.key))
        return observe_at_once(session, steps, then, expected=when, limits=self._context.limits)

    async def _again(self, session_id: str, body: bytes, key: str | None) -> Written:
        """The answer to a step that another replica was faster at: it may be that very step."""
        session = await self._context.service.store.get(session_id)
        return (to_json(await transitions.observe(self._context, session, decode(ObserveBody, body), key)),)


def _answer(step: Step, result: Result) -> Written:
    return (observed(step, result),)


class HotStream:
    """What a session's WebSocket does with a frame that may take the short way; see `HotWebSocket`.

    Args:
        idle: whether every frame before has been answered.
    """

    def __init__(self, context: Context, session_id: str, idle: Callable[[], bool]) -> None:
        self._context = context
        self._session_id = session_id
        self._idle = idle

    def begin(self, payload: bytes, binary: bool, exchange: FrameExchange) -> bool:
        """Begin to answer a frame through `exchange`, later; False leaves the frame to the application."""
        context = self._context
        if not self._idle() or context.traffic.draining:
            return False
        session = context.service.store.find(self._session_id)
        if session is None:
            return False
        asked = _read_binary(payload) if binary else _read_text(session.model, payload)
        if asked is None:
            return False
        started = time.perf_counter()

        def answer(step: Step, outcome: Outcome) -> None:
            context.traffic.active -= 1
            if isinstance(outcome, SessionMoved):
                work = self._again(payload, binary, asked.identifier)
                run_aside(work, exchange.answer, lambda error: exchange.fail(error, asked.identifier))
                return
            if isinstance(outcome, UnrollError):
                exchange.fail(outcome, asked.identifier)
                return
            try:
                told = (_written if binary else _told)(step, outcome, asked.identifier)
            except Exception as error:
                exchange.fail(ours(error), asked.identifier)
                return
            exchange.answer(told)
            context.metrics.on_request(STREAM, "WS", 200, time.perf_counter() - started)

        if observe_at_once(session, asked.steps, answer, expected=asked.expected, limits=context.limits):
            context.traffic.active += 1
            return True
        return False

    async def _again(self, payload: bytes, binary: bool, identifier: Identifier | None) -> bytes:
        """The answer to a frame whose step another replica was faster at: it may be that very step."""
        context = self._context
        with context.traffic.serving():
            session = await context.service.store.get(self._session_id)
            if binary:
                return await transitions.observe_frame(context, session, payload)
            asked = decode(ObserveFrame, payload)
            answer = to_json(await transitions.observe(context, session, asked, asked.idempotency_key))
        return _head(identifier) + answer[1:]


class _Asked(NamedTuple):
    """A frame that observes: values and covariates as `steps_of` gives them, and the client's own name for it."""

    steps: Values | list[float | None]
    expected: Expected
    identifier: Identifier | None


class _ValuesFrame(_Values, kw_only=True):
    """The part of `ObserveFrame` that takes the short way."""

    type: Literal["observe"]
    id: Identifier | None = None


_decode_frame = msgspec.json.Decoder(_ValuesFrame).decode


def _read_binary(payload: bytes) -> _Asked | None:
    try:
        frame = frames.read_observe(payload)
    except UnrollError:
        return None
    return _Asked(frame.steps, _expected(frame.position), frame.number)


def _read_text(model: Model, payload: bytes) -> _Asked | None:
    try:
        asked = _decode_frame(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    steps = steps_of(model, asked.values, asked.future_covariates)
    return None if steps is None else _Asked(steps, _expected(asked.position), asked.id)


def _expected(position: int | None) -> Expected:
    return NOTHING_EXPECTED if position is None else Expected(position)


def _told(step: Step, result: Result, identifier: Identifier | None) -> bytes:
    """The JSON text frame of an answer."""
    return _head(identifier) + observed(step, result)[1:]


def _head(identifier: Identifier | None) -> bytes:
    return b'{"type":"observe",' if identifier is None else b'{"type":"observe","id":%b,' % to_json(identifier)


def _written(step: Step, result: Result, number: Identifier | None) -> bytes:
    """The binary frame of an answer."""
    assert isinstance(number, int)
    return written(step, result, number)
