"""Errors as a container answers them; SageMaker hands status and body on to its client as they are."""

from __future__ import annotations

from starlette.responses import Response

from service.errors import UnrollError
from service.protocols.answering import json_answer


def render(error: UnrollError, request_id: str) -> Response:
    """The HTTP answer to an error. What does not fit is 400, as from SageMaker's own algorithms."""
    told = {"code": error.code, "message": error.message, "parameter": error.parameter, "request_id": request_id}
    headers = {"x-should-retry": "false"} if error.status == 409 else None
    return json_answer({"error": told}, 400 if error.status == 422 else error.status, headers)
