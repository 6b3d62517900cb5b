"""What the OpenAPI page shows of errors: for each route those that it may answer with, in its protocol's shape."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from starlette.routing import compile_path

from service.errors import (
    BadRequest,
    CheckpointNotFound,
    InputMismatch,
    JournalUnavailable,
    ModelNotFound,
    NotAllowed,
    NotAuthenticated,
    Overloaded,
    PositionConflict,
    RequestTooLarge,
    SessionExpired,
    SessionNotFound,
    UnrollError,
)
from service.protocols.documentation import Route
from service.protocols.http_errors import UnsupportedCoding
from service.protocols.rendering import Renderers

_REQUEST_ID = "4f7d2c9ab1e300000012"
_OF_SESSIONS = ("/sessions/", "/observe", "/completions", "/forecast", "/invocations", "/infer", "/generate")


def describe_refusals(document: dict[str, Any], routes: list[Route], renderers: Renderers) -> None:
    """Add to every operation the errors that it may be answered with, each with an example."""
    for route in routes:
        path = compile_path(route.path)[1]
        operation = document["paths"][path][route.method.lower()]
        for error in refusals_of(route):
            response = renderers.render(error, path, _REQUEST_ID)
            told = operation["responses"].setdefault(
                str(response.status_code), {"description": _summary(error), "content": {"application/json": {}}}
            )
            content = told["content"].setdefault("application/json", {})
            example = {"summary": _summary(error), "value": json.loads(bytes(response.body))}
            content.setdefault("examples", {})[error.code] = example


def refusals_of(route: Route) -> Iterator[UnrollError]:
    """The errors that a route may be answered with."""
    if route.needs == "open":
        return
    yield NotAuthenticated("no API key came: send it in the header Authorization: Bearer KEY, or in X-Api-Key")
    yield NotAllowed(f"this API key does not have the right {route.needs!r}, which this asks for")
    if "/checkpoints/{name}" in route.path:
        yield CheckpointNotFound("checkpoint: session meter-17 has none named 'noon'; known are none", parameter="name")
    elif (
        "{model}" in route.path or "{name" in route.path or (route.body is not None and "/sessions/{" not in route.path)
    ):
        yield ModelNotFound("model: there is no model 'pump': known are pjm-load, shakespeare", parameter="model")
    if route.body is not None:
        yield BadRequest("body: expected JSON: unexpected end of input")
        yield RequestTooLarge("body: expected at most 8388608 bytes, got more: send it in several requests")
        yield UnsupportedCoding("content-encoding: expected none here, got 'br': send the body as it is")
        yield InputMismatch("body.horizon: expected a whole number at least 1, got 0", parameter="horizon")
    if any(part in route.path for part in _OF_SESSIONS):
        if "{session_id}" in route.path:
            yield SessionNotFound("there is no session 'meter-17': open it first, or check the id")
        if route.method == "POST":
            yield PositionConflict("position: expected 4, the session stands at 5", position=5, durable_position=5)
        yield SessionExpired("session meter-17 was idle for longer than its time to live: open a new one")
    yield Overloaded("80 requests wait for model pjm-load/1, 0.3 s of work: try again later", retry_after_s=1.0)
    yield JournalUnavailable("the journal cannot be written now: try again in a moment", retry_after_s=1.0)


def _summary(error: UnrollError) -> str:
    """What an error means, as its class says."""
    return (type(error).__doc__ or "").partition("\n")[0].rstrip(".")
