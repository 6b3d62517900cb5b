"""The WebSocket of a session: one loop for each connection, which gives order and back-pressure.

JSON text frames `{"type": "observe" | "forecast" | "generate" | "fork" | "session" | "cancel", "id"?: …}` are
answered in order by frames of the same type; text is generated in several, of which the last has a `finish_reason`.
`cancel` ends the generation that runs, whose last frame says so, and then is answered itself. Binary frames carry many
steps each (see `frames`). An error about one request is a frame of type `error`; the connection goes on unless the
error is about more than that request.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import aclosing
from functools import partial
from typing import Any, TypeVar

from starlette.websockets import WebSocket, WebSocketDisconnect

from service.access.admission import Visitor
from service.errors import Cancelled, UnrollError
from service.logging_setup import request_id
from service.protocols.answering import answered_within, json_in_turns, stop, to_json
from service.protocols.boundary import choose_request_id, ours, visitor_of
from service.protocols.context import Context, context_of
from service.protocols.hot.websocket import HOT_EXTENSION, HotWebSocket
from service.protocols.native import forecasts, frames, messages, transitions
from service.protocols.native.checkpoints import place_of
from service.protocols.native.errors import error_body
from service.protocols.native.hot import STREAM, HotStream
from service.protocols.native.stream_messages import (
    CancelFrame,
    ForecastFrame,
    ForkFrame,
    Frame,
    GenerateFrame,
    Identifier,
    ObserveFrame,
    SessionFrame,
    asks_to_cancel,
    identifier_in,
)
from service.protocols.reading import decode
from service.sessions.ownership import SessionKey
from service.sessions.session import Session

T = TypeVar("T")

SUBPROTOCOL = "unroll"
"""What clients may offer, and get."""
_ABOUT_ONE_REQUEST = (409, 413, 422, 429, 499)
_REASON_BYTES = 123


async def stream_session(websocket: WebSocket, session_id: str) -> None:
    """Do everything a session can over one connection.

    Raises:
        NotAllowed: the client's API key is for other things; nothing is accepted then.
    """
    context, visitor = context_of(websocket), visitor_of(websocket)
    visitor.caller().require("sessions")
    request_id.set(choose_request_id(websocket.scope["headers"]))
    # A browser that offers its key as a subprotocol goes on only where one is chosen, and a key is not to be sent back.
    chosen = SUBPROTOCOL if SUBPROTOCOL in websocket.scope.get("subprotocols", ()) else None
    await websocket.accept(chosen, headers=[(b"x-request-id", (request_id.get() or "").encode())])
    context.metrics.on_connections(+1)
    try:
        await _Connection(websocket, context, visitor, session_id).serve()
    except WebSocketDisconnect:
        return
    finally:
        context.metrics.on_connections(-1)


class _Connection:
    """One client's connection to one session."""

    def __init__(self, websocket: WebSocket, context: Context, visitor: Visitor, session_id: str) -> None:
        self._websocket = websocket
        self._context = context
        self._visitor = visitor
        self._session_id = session_id
        self._next: asyncio.Future[Any] | None = None
        """The client's next message, where it was asked for while the one before still ran."""
        self._waits = False
        """Whether everything the client has sent is answered, and its next message is waited for."""
        self._below: HotWebSocket | None = websocket.scope["extensions"].get(HOT_EXTENSION)

    async def serve(self) -> None:
        """Answer messages until the client goes away, or an error ends the connection."""
        try:
            goes_on = await self._answer(self._find_session, lambda: None)
            if self._below is not None:
                self._below.attach(HotStream(self._context, self._visitor, self._session_id, lambda: self._waits))
            while goes_on:
                message = await self._receive()
                binary, text = message.get("bytes"), message.get("text")
                if (error := message.get("error")) is not None:  # of a frame that was begun below the application
                    goes_on = await self._answer(partial(_raise, error), partial(message.get, "id"))
                elif binary is not None:
                    goes_on = await self._answer(partial(self._binary, binary), partial(frames.number_of, binary))
                elif text is not None:
                    goes_on = await self._answer(partial(self._text, text), partial(identifier_in, text))
        finally:
            if self._next is not None:
                self._next.cancel()

    async def _find_session(self) -> None:
        await self._session()

    async def _session(self) -> Session:
        return await self._context.service.store.get(self._key())

    def _key(self) -> SessionKey:
        """The session's name, as the client's API key is now; raises where that may not any more."""
        return self._visitor.caller().own(self._session_id)

    async def _receive(self) -> Any:
        """The client's next message; raises `WebSocketDisconnect` when there is none."""
        traffic = self._context.traffic
        if traffic.draining:
            await self._close_for_shutdown()
        traffic.idle.add(self._close_for_shutdown)
        try:
            if self._next is None:
                self._waits = True
                message = await self._websocket.receive()
                self._waits = False
            else:
                message, self._next = await self._next, None
        finally:
            traffic.idle.discard(self._close_for_shutdown)
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message["code"])
        return message

    async def _close_for_shutdown(self) -> None:
        if self._below is not None and self._below.answering:
            self._below.tell_of_answer()  # and this will be asked again
            return
        await self._websocket.close(1013, "the service is shutting down")

    async def _answer(self, work: Callable[[], Awaitable[None]], identify: Callable[[], Identifier | None]) -> bool:
        """Answer one message; whether the connection goes on."""
        started, status = time.perf_counter(), 200
        try:
            with self._context.traffic.serving():
                async with answered_within(self._context.settings.answer_timeout_s):
                    await work()
            return True
        except WebSocketDisconnect:
            raise
        except Exception as error:
            told = ours(error)
            status = told.status
            return await self._tell(told, identify())
        finally:
            self._context.metrics.on_request(STREAM, "WS", status, time.perf_counter() - started)

    async def _tell(self, error: UnrollError, identifier: Identifier | None) -> bool:
        """Send an error, and close the connection unless it is about one request only."""
        await self._send("error", identifier, error_body(error, request_id.get() or ""))
        if error.status in _ABOUT_ONE_REQUEST:
            return True
        reason = error.message.encode()[:_REASON_BYTES].decode(errors="ignore")
        await self._websocket.close(error.close_code, reason)
        return False

    async def _send(self, kind: str, identifier: Identifier | None, content: Any) -> None:
        head = {"type": kind} if identifier is None else {"type": kind, "id": identifier}
        # Two objects joined into one, since structs cannot take further fields.
        joined = to_json(head)[:-1] + b"," + (await json_in_turns(content))[1:]
        await self._websocket.send({"type": "websocket.send", "text": joined.decode()})

    async def _binary(self, frame: bytes) -> None:
        self._context.rates.admit(self._visitor.caller())
        answer = await transitions.observe_frame(self._context, await self._session(), frame)
        await self._websocket.send({"type": "websocket.send", "bytes": answer})

    async def _text(self, text: str) -> None:
        self._context.rates.admit(self._visitor.caller())
        frame = decode(Frame, text, "frame")
        context, session = self._context, await self._session()
        match frame:
            case ObserveFrame():
                observed = await transitions.observe(context, session, frame, frame.idempotency_key)
                await self._send("observe", frame.id, observed)
            case ForecastFrame():
                ahead = await self._while_connected(forecasts.forecast(context, session, frame))
                await self._send("forecast", frame.id, ahead)
            case GenerateFrame() if transitions.is_text(session):
                try:
                    await self._while_connected(self._generate(session, frame))
                except Cancelled:
                    ended = messages.GeneratedText("", [], session.position, session.durable_position, "cancelled")
                    await self._send("generate", frame.id, ended)
            case GenerateFrame():
                drawn = transitions.generate_values(context, session, frame, frame.idempotency_key)
                await self._send("generate", frame.id, await self._while_connected(drawn))
            case SessionFrame():
                stands = await context.service.store.look(session.key)
                await self._send("session", frame.id, {"session": stands.describe()})
            case ForkFrame():
                place = place_of(frame.position, frame.checkpoint)
                forked = await context.service.store.fork(
                    *(session.key, frame.session_id, frame.seed, place, frame.anomaly_threshold)
                )
                await self._send("fork", frame.id, {"session": forked.describe()})
            case CancelFrame():  # what it was meant for has ended; this tells where, once that is decided
                async with session.turn(touch=False):
                    await self._send("cancel", frame.id, {"session": session.describe()})

    async def _generate(self, session: Session, frame: GenerateFrame) -> None:
        async with aclosing(transitions.generate_text(self._context, session, frame, frame.idempotency_key)) as pieces:
            async for piece in pieces:
                await self._send("generate", frame.id, piece)

    async def _while_connected(self, work: Coroutine[Any, Any, T]) -> T:
        """Await work, and cancel it should the client go away or ask for it.

        One message is read ahead for that and no more, so that a client cannot run ahead of its answers.

        Raises:
            Cancelled: the client asked for it.
        """
        running = asyncio.ensure_future(work)
        if self._next is None:
            self._next = asyncio.ensure_future(self._websocket.receive())
        try:
            await asyncio.wait({running, self._next}, return_when=asyncio.FIRST_COMPLETED)
            if not running.done() and _ends(self._next.result()):
                await stop(running)
                if self._next.result()["type"] == "websocket.disconnect":
                    raise WebSocketDisconnect
                raise Cancelled("cancelled: the session stands at what was delivered")
            return await running
        finally:
            await stop(running)


async def _raise(error: UnrollError) -> None:
    raise error


def _ends(message: Any) -> bool:
    """Whether a message read ahead ends what runs."""
    return message["type"] == "websocket.disconnect" or asks_to_cancel(message.get("text") or "")
