"""Observing with a forecaster, below ASGI: `POST /v1/sessions/{id}/observe` and a session's WebSocket.

The message in, the task, the answer out; each answer has the bytes that the application would write.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal, NamedTuple

import msgspec

from service.access.admission import Visitor
from service.access.caller import Caller
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
from service.sessions.ownership import SessionKey
from service.sessions.step import Step
from service.sessions.transition import NOTHING_EXPECTED, Expected
from service.tasks.forecast import observe_at_once
from service.tasks.series_inputs import Values

log = logging.getLogger(__name__)

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

    def begin(self, head: Head, body: bytes, caller: Caller, exchange: Exchange) -> bool:
        key = caller.own(head.path[len(_BEGINNING) : -len(_END)].decode())
        session = self._context.service.store.find(key)
        if session is None:
            return False
        try:
            asked = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        steps = steps_of(session.model, asked.values, asked.future_covariates)
        if steps is None:
            return False
        when, idempotency_key = NOTHING_EXPECTED, head.headers.get(b"idempotency-key")
        if asked.position is not None or idempotency_key is not None:
            try:
                when = expected(asked.position, None if idempotency_key is None else idempotency_key.decode())
            except UnrollError:
                return False
        again = partial(self._again, key, body, when.key)
        then = partial(tell, exchange, _answer, again)
        observe = partial(observe_at_once, session, steps, then, expected=when, limits=self._context.limits)

        def begin_in_turn() -> None:
            begun = False
            try:
                begun = observe(has_turn=True)
            except Exception:
                log.exception("the short way of %s failed; it is gone the long way", self.template)
            if not begun:
                run_aside(again(), lambda answer: exchange.answer(*answer), exchange.fail)

        # Where a step before it is on its way still, it waits for that one here: the application would take far longer.
        return observe() or (session.is_plain and session.call_in_turn(begin_in_turn))

    async def _again(self, key: SessionKey, body: bytes, idempotency_key: str | None) -> Written:
        """The answer to a step that another replica was faster at: it may be that very step."""
        session = await self._context.service.store.get(key)
        asked = decode(ObserveBody, body)
        return (to_json(await transitions.observe(self._context, session, asked, idempotency_key)),)


def _answer(step: Step, result: Result) -> Written:
    return (observed(step, result),)


class HotStream:
    """What a session's WebSocket does with a frame that may take the short way; see `HotWebSocket`.

    Args:
        visitor: whom the frames come from.
        idle: whether every frame before has been answered.
    """

    def __init__(self, context: Context, visitor: Visitor, session_id: str, idle: Callable[[], bool]) -> None:
        self._context = context
        self._visitor = visitor
        self._session_id = session_id
        self._idle = idle

    def begin(self, payload: bytes, binary: bool, exchange: FrameExchange) -> bool:
        """Begin to answer a frame through `exchange`, later; False leaves the frame to the application."""
        context = self._context
        if not self._idle() or context.traffic.draining:
            return False
        try:
            caller = self._visitor.caller()
            key = caller.own(self._session_id)
        except UnrollError:
            return False
        if not context.rates.may_ask(caller):
            return False
        session = context.service.store.find(key)
        if session is None:
            return False
        asked = _read_binary(payload) if binary else _read_text(session.model, payload)
        if asked is None:
            return False
        started = time.perf_counter()

        def answer(step: Step, outcome: Outcome) -> None:
            context.traffic.end(caller.name)
            if isinstance(outcome, SessionMoved):
                work = self._again(key, payload, binary, asked.identifier)
                run_aside(work, exchange.answer, lambda error: exchange.fail(error, asked.identifier))
                return
            if isinstance(outcome, UnrollError):
                exchange.fail(outcome, asked.identifier)
                return
            try:
                told = _written(step, outcome, asked) if binary else _told(step, outcome, asked.identifier)
            except Exception as error:
                exchange.fail(ours(error), asked.identifier)
                return
            exchange.answer(told)
            context.metrics.on_request(STREAM, "WS", 200, time.perf_counter() - started)

        if observe_at_once(session, asked.steps, answer, expected=asked.expected, limits=context.limits):
            context.traffic.begin(caller.name)
            context.rates.count(caller)
            return True
        return False

    async def _again(self, key: SessionKey, payload: bytes, binary: bool, identifier: Identifier | None) -> bytes:
        """The answer to a frame whose step another replica was faster at: it may be that very step."""
        context = self._context
        with context.traffic.serving():
            session = await context.service.store.get(key)
            if binary:
                return await transitions.observe_frame(context, session, payload)
            asked = decode(ObserveFrame, payload)
            answer = to_json(await transitions.observe(context, session, asked, asked.idempotency_key))
        return _head(identifier) + answer[1:]


class _Asked(NamedTuple):
    """A frame that observes: values and covariates as `steps_of` gives them, and the client's own name for it.

    `scored` is a binary one whose answer is to tell scores.
    """

    steps: Values | list[float | None]
    expected: Expected
    identifier: Identifier | None
    scored: bool = False


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
    return _Asked(frame.steps, _expected(frame.position), frame.number, frame.wants_scores)


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


def _written(step: Step, result: Result, asked: _Asked) -> bytes:
    """The binary frame of an answer."""
    assert isinstance(asked.identifier, int)
    return written(step, result, asked.identifier, scored=asked.scored)
