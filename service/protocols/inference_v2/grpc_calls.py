"""The boundary around every call: bytes to message and back, request ids, metrics, every error rendered as a status."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from typing import Any, TypeVar

from google.protobuf.message import DecodeError, Message
from grpc import StatusCode
from grpc.aio import ServicerContext

from service.access.admission import Visitor, credential_in
from service.access.caller import enter
from service.errors import BadRequest
from service.logging_setup import request_id
from service.protocols.answering import answered_within
from service.protocols.boundary import choose_request_id, ours, request_log
from service.protocols.context import Context
from service.protocols.documentation import Needs, check
from service.protocols.inference_v2.grpc_errors import code_of, details_of, trailing_metadata

Call = ServicerContext[bytes, bytes]
"""One call as gRPC sees it; messages are bytes, so that one that cannot be read is refused in our own words."""
M = TypeVar("M", bound=Message)

_REQUEST_ID = b"x-request-id"
_LEVELS = {StatusCode.INTERNAL: logging.ERROR, StatusCode.UNAVAILABLE: logging.WARNING}
"""Levels at which answers are logged, as those over HTTP are."""


def read(kind: type[M], content: bytes) -> M:
    """The message that these bytes are.

    Raises:
        BadRequest: they are none.
    """
    try:
        return kind.FromString(content)
    except DecodeError:
        raise BadRequest(
            f"expected a message {kind.DESCRIPTOR.full_name}, got {len(content)} bytes that are none"
        ) from None


def unary(
    context: Context,
    name: str,
    kind: type[M],
    method: Callable[[M], Awaitable[Message]],
    *,
    needs: Needs,
    always: bool = False,
) -> Callable[[bytes, Call], Awaitable[bytes]]:
    """A handler that answers one message with one, counted as running work.

    Args:
        needs: what the caller must have; see `Route`.
        always: answered during a shutdown as well, and not waited for.
    """

    async def handle(content: bytes, call: Call) -> bytes:
        async with boundary(context, name, call, needs):
            with nullcontext() if always else context.traffic.serving():
                async with answered_within(context.settings.answer_timeout_s):
                    return (await method(read(kind, content))).SerializeToString()

    return handle


@asynccontextmanager
async def boundary(context: Context, name: str, call: Call, needs: Needs) -> AsyncIterator[None]:
    """Let a call in, count and log it, and end it with the status of whatever is raised within."""
    identifier = choose_request_id(_headers(call))
    request_id.set(identifier)
    started, code = time.perf_counter(), StatusCode.OK
    try:
        if needs != "open":
            who = visitor_of(context, call).caller()
            context.rates.admit(who)
            enter(who)
            check(needs)
        yield
    except asyncio.CancelledError:
        code = StatusCode.CANCELLED
        raise
    except Exception as error:
        told = ours(error)
        code = code_of(told)
        await call.abort(code, details_of(told), trailing_metadata(told, identifier))
    finally:
        record(context, name, code, time.perf_counter() - started)


def visitor_of(context: Context, call: Call) -> Visitor:
    """Whom a call comes from.

    Raises:
        NotAuthenticated: no API key came with it, or two.
    """
    return context.access.visitor(credential_in(_metadata(call)))


def record(context: Context, name: str, code: StatusCode, seconds: float) -> None:
    """Count and log one answer, be it of a call or of a request on a stream."""
    context.metrics.on_request(name, "GRPC", code.value[0], seconds)
    level = _LEVELS.get(code, logging.DEBUG)
    if request_log.isEnabledFor(level):
        facts = {"method": "GRPC", "path": name, "status": code.name}
        request_log.log(level, "request", extra=facts | {"seconds": round(seconds, 6)})


def _headers(call: Call) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in _metadata(call) if name == _REQUEST_ID]


def _metadata(call: Call) -> list[tuple[bytes, bytes]]:
    metadata: Any = call.invocation_metadata() or ()
    return [
        (name.encode(), value if isinstance(value, bytes) else value.encode(errors="replace"))
        for name, value in metadata
    ]
