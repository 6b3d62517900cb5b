"""Errors in KServe's shape: {"error": {"code", "message", "param", "type"}}."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from service.errors import UnrollError
from service.protocols.answering import json_answer

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    429: "rate_limit_error",
}


def told(error: UnrollError) -> dict[str, Any]:
    """One error, of a request or of one of its inputs."""
    kind = "server_error" if error.status >= 500 else _TYPES.get(error.status, "invalid_request_error")
    return {"code": error.code, "message": error.message, "param": error.parameter, "type": kind}


def render(error: UnrollError, request_id: str) -> Response:
    """The HTTP answer to an error."""
    headers = {"x-should-retry": "false"} if error.status == 409 else None
    return json_answer({"error": told(error)}, error.status, headers)
