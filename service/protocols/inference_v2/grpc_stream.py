"""ModelStreamInfer: many requests of many sequences over one stream, each answered on it.

Requests of one sequence run one after the other and are answered in their order; sequences do not wait for each other.
Requests without a sequence run at once, and are answered in their order. What is wrong with one request is its own
answer, and the stream goes on. A client that does not read its answers is not read from either.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from grpc import StatusCode
from grpc.aio import BaseError

from service.access.caller import enter
from service.errors import ShuttingDown, UnrollError
from service.logging_setup import request_id
from service.protocols.answering import answered_within
from service.protocols.boundary import ours
from service.protocols.context import Context
from service.protocols.http_errors import RequestTimeout
from service.protocols.inference_v2 import inference_pb2 as messages
from service.protocols.inference_v2.grpc_calls import Call, read, record, visitor_of
from service.protocols.inference_v2.grpc_errors import code_of, trailing_metadata
from service.protocols.inference_v2.sequences import session_id_of

Infer = Callable[[messages.ModelInferRequest], Awaitable[messages.ModelInferResponse]]

_AT_ONCE = 256
"""Requests of one stream that may be under way; the next is read when one of them is answered."""


class InferStream:
    """One client's stream.

    Args:
        name: under which its requests are counted.
    """

    def __init__(self, context: Context, name: str, infer: Infer, call: Call) -> None:
        self._context = context
        self._name = name
        self._infer = infer
        self._call = call
        self._visitor = visitor_of(context, call)
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._writing = asyncio.Lock()
        self._reading: asyncio.Future[None]
        self._is_unread = False
        self._running: set[asyncio.Task[None]] = set()
        self._last: dict[str | None, asyncio.Task[None]] = {}
        """The last request under way of each sequence, under None of those without one."""

    async def serve(self) -> None:
        """Answer requests until the client has sent its last or goes away.

        Raises:
            BadRequest: a message that is none.
            ShuttingDown: the service is stopping; what was under way has been answered.
            RequestTimeout: the client does not read.
        """
        if self._context.traffic.draining:
            raise ShuttingDown()
        reading = self._reading = asyncio.ensure_future(self._read())

        async def stop_reading() -> None:
            reading.cancel()

        self._context.traffic.idle.add(stop_reading)
        try:
            await asyncio.wait({reading})
            if not self._is_unread:
                await asyncio.gather(*self._running)
        finally:
            self._context.traffic.idle.discard(stop_reading)
            await _cancel({reading, *self._running})
        if self._is_unread:
            raise RequestTimeout("the answers on this stream are not read: read them while sending")
        if reading.cancelled():
            raise ShuttingDown()
        reading.result()

    async def _read(self) -> None:
        while (content := await self._read_bytes()) is not None:
            message = read(messages.ModelInferRequest, content)
            await self._slots.acquire()
            sequence = sequence_of(message)
            task = asyncio.ensure_future(self._answer(message, sequence, self._last.get(sequence)))
            self._last[sequence] = task
            self._running.add(task)

    async def _read_bytes(self) -> bytes | None:
        content: object = await self._call.read()
        return content if isinstance(content, bytes) else None

    async def _answer(
        self, message: messages.ModelInferRequest, sequence: str | None, before: asyncio.Task[None] | None
    ) -> None:
        try:
            if sequence is not None:
                await _ended(before)
            answer = await self._answer_to(message)
            if sequence is None:
                await _ended(before)
            async with self._writing:
                if not self._is_unread:
                    await self._write(answer.SerializeToString())
        finally:
            task = asyncio.current_task()
            assert task is not None
            self._running.discard(task)
            if self._last.get(sequence) is task:
                del self._last[sequence]
            self._slots.release()

    async def _write(self, content: bytes) -> None:
        connections = self._context.connections
        try:
            async with asyncio.timeout(connections.request_s):
                # A client that is gone wants no answer; the call it went away from is about to be cancelled.
                with suppress(BaseError):
                    await self._call.write(content)
        except TimeoutError:
            connections.cut("unread")
            self._is_unread = True
            self._reading.cancel()

    async def _answer_to(self, message: messages.ModelInferRequest) -> messages.ModelStreamInferResponse:
        started, code = time.perf_counter(), StatusCode.OK
        try:
            with self._context.traffic.serving():
                who = self._visitor.caller()
                self._context.rates.admit(who)
                enter(who)
                async with answered_within(self._context.settings.answer_timeout_s):
                    return messages.ModelStreamInferResponse(infer_response=await self._infer(message))
        except asyncio.CancelledError:
            code = StatusCode.CANCELLED
            raise
        except Exception as error:
            told = ours(error)
            code = code_of(told)
            return refusal(told, message.id)
        finally:
            record(self._context, self._name, code, time.perf_counter() - started)


def sequence_of(message: messages.ModelInferRequest) -> str | None:
    """Which sequence a request belongs to, if it does; whether that can be is not looked at."""
    given = message.parameters.get("sequence_id")
    kind = None if given is None else given.WhichOneof("parameter_choice")
    value = None if kind is None else getattr(given, kind)
    return session_id_of(message.model_name, value) if value and isinstance(value, int | str) else None


def refusal(error: UnrollError, identifier: str) -> messages.ModelStreamInferResponse:
    """The answer that tells an error of one request; beside the message stands what a call's metadata would."""
    answer = messages.ModelInferResponse(id=identifier)
    for name, value in trailing_metadata(error, request_id.get() or ""):
        answer.parameters[name].string_param = value
    return messages.ModelStreamInferResponse(error_message=error.message, infer_response=answer)


async def _cancel(tasks: set[asyncio.Task[None]]) -> None:
    """End tasks that still run: all of them before any is waited for, as one that ends lets the next begin."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def _ended(task: asyncio.Task[None] | None) -> None:
    """Wait until a task has ended, however it did."""
    if task is not None:
        await asyncio.wait({task})
