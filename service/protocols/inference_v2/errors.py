"""Errors in V2's shape, {"error": "what is wrong"}, with the statuses Triton's clients know."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from service.errors import PositionConflict, UnrollError
from service.protocols.answering import json_answer


def status_of(error: UnrollError) -> int:
    """What does not fit is 400 here, not 422, as Triton has it."""
    return 400 if error.status == 422 else error.status


def error_body(error: UnrollError) -> dict[str, Any]:
    """The body of an error, and the last event of a stream that failed; a conflict tells where the sequence is."""
    told: dict[str, Any] = {"error": error.message}
    if isinstance(error, PositionConflict):
        told |= {"position": error.position, "durable_position": error.durable_position}
    return told


def render(error: UnrollError, request_id: str) -> Response:
    """The HTTP answer to an error."""
    return json_answer(error_body(error), status_of(error))
