"""Errors in the native shape: {"error": {"code", "message", "parameter"?, "position"?, …, "request_id"}}."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from service.errors import JournalUnavailable, Overloaded, PositionConflict, UnrollError
from service.protocols.answering import json_answer


def error_body(error: UnrollError, request_id: str) -> dict[str, Any]:
    """What a client is told of an error, over HTTP and in WebSocket frames."""
    told: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.parameter is not None:
        told["parameter"] = error.parameter
    if isinstance(error, PositionConflict):
        told["position"] = error.position
        told["durable_position"] = error.durable_position
        if error.nearest is not None:
            told["nearest"] = error.nearest
    if isinstance(error, Overloaded | JournalUnavailable):
        told["retry_after_s"] = error.retry_after_s
    return {"error": told | {"request_id": request_id}}


def render(error: UnrollError, request_id: str) -> Response:
    """The HTTP answer to an error."""
    headers = {"x-should-retry": "false"} if error.status == 409 else None
    return json_answer(error_body(error, request_id), error.status, headers)
