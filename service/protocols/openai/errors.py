"""Errors in OpenAI's shape: {"error": {"message", "type", "param", "code"}}."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from service.errors import UnrollError
from service.protocols.answering import json_answer

_TYPES = {409: "conflict_error", 410: "invalid_request_error", 429: "rate_limit_error"}


def status_of(error: UnrollError) -> int:
    """What does not fit is 400 here, not 422, as OpenAI's clients expect."""
    return 400 if error.status == 422 else error.status


def error_body(error: UnrollError) -> dict[str, Any]:
    """The body of an error, and the last event of a stream that failed."""
    kind = "server_error" if error.status >= 500 else _TYPES.get(error.status, "invalid_request_error")
    return {"error": {"message": error.message, "type": kind, "param": error.parameter, "code": error.code}}


def render(error: UnrollError, request_id: str) -> Response:
    """The HTTP answer to an error. The official client retries 409 unless told not to, and a conflict stays one."""
    headers = {"x-should-retry": "false"} if error.status == 409 else None
    return json_answer(error_body(error), status_of(error), headers)
