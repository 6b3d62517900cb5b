"""Our own interface: models, sessions and their transitions over HTTP and WebSocket."""

from __future__ import annotations

from service.protocols.documentation import Route
from service.protocols.native import (
    bulk,
    checkpoints,
    examples,
    forecast_messages,
    forecasts,
    messages,
    models,
    scoring,
    sessions,
)
from service.protocols.native.errors import render
from service.protocols.native.stream import stream_session

__all__ = ["HOT_ROUTES", "PREFIX", "ROUTES", "WEBSOCKET", "render", "stream_session"]

PREFIX = ""
WEBSOCKET = "/v1/sessions/{session_id}/stream"

_KEY = {"idempotency-key": ("header", "a key of your own; the same request sent again is not carried out again")}
_OWNER = {
    "owner": (
        "query",
        "for keys with the right admin: whose sessions are meant, by the name of a key; * for everyone's, nothing for "
        "those that are nobody's; your own if left out",
    )
}
_PAGE = {
    "after": ("query", "the last page's `next`"),
    "limit": ("query", "sessions on a page, 1 to 1000 (100)"),
    "model": ("query", "only sessions of this model"),
    **_OWNER,
}
_FILTER = {
    "model": ("query", "sessions of this model"),
    "idle_for_s": ("query", "sessions not used for so many seconds"),
    **_OWNER,
}
_SESSION = "/v1/sessions/{session_id}"

_OBSERVE = Route(
    "POST",
    _SESSION + "/observe",
    sessions.observe,
    examples.OBSERVED,
    "sessions",
    body=messages.ObserveBody,
    example=examples.OBSERVE,
    parameters=_KEY,
)
HOT_ROUTES = (_OBSERVE,)

ROUTES = (
    Route("GET", "/v1/models", models.list_models, examples.MODELS, "predict"),
    Route("POST", "/v1/models/reload", models.reload_models, examples.RELOADED, "admin"),
    Route("GET", "/v1/models/{name:path}", models.get_model, examples.MODEL, "predict"),
    Route(
        "POST",
        "/v1/sessions",
        sessions.open_sessions,
        examples.SESSION,
        "sessions",
        status=201,
        body=messages.OpenSessionBody | list[messages.OpenSessionBody],
        example=examples.OPEN,
    ),
    Route("GET", "/v1/sessions", sessions.list_sessions, examples.SESSIONS, "sessions or admin", parameters=_PAGE),
    Route("DELETE", "/v1/sessions", sessions.close_sessions, {"closed": 12}, "sessions or admin", parameters=_FILTER),
    Route("GET", _SESSION, sessions.get_session, examples.SESSION, "sessions"),
    Route("DELETE", _SESSION, sessions.close_session, {"closed": 1}, "sessions or admin", parameters=_OWNER),
    _OBSERVE,
    Route(
        "POST",
        "/v1/observe",
        bulk.observe_sessions,
        examples.OBSERVED_SESSIONS,
        "sessions",
        body=bulk.ObserveSessionsBody,
        example=examples.OBSERVE_SESSIONS,
    ),
    Route(
        "POST",
        _SESSION + "/forecast",
        forecasts.forecast_session,
        examples.FORECAST_ANSWER,
        "sessions",
        body=forecast_messages.ForecastBody,
        example=examples.FORECAST,
    ),
    Route(
        "POST",
        "/v1/forecast",
        forecasts.forecast_sessions,
        examples.FORECASTS,
        "sessions",
        body=forecast_messages.ForecastSessionsBody,
        example=examples.FORECAST_SESSIONS,
    ),
    Route(
        "POST",
        _SESSION + "/generate",
        sessions.generate,
        examples.GENERATED,
        "sessions",
        body=messages.GenerateBody,
        example=examples.GENERATE,
        parameters=_KEY,
    ),
    Route(
        "POST",
        _SESSION + "/fork",
        sessions.fork_session,
        examples.SESSION,
        "sessions",
        status=201,
        body=messages.ForkBody,
        example={"id": "what-if", "seed": 7},
    ),
    Route("GET", _SESSION + "/checkpoints", checkpoints.list_checkpoints, examples.CHECKPOINTS, "sessions"),
    Route(
        "POST",
        _SESSION + "/checkpoints",
        checkpoints.save_checkpoint,
        examples.CHECKPOINT,
        "sessions",
        status=201,
        body=messages.CheckpointBody,
        example={"name": "act-2"},
    ),
    Route("DELETE", _SESSION + "/checkpoints/{name}", checkpoints.remove_checkpoint, {"removed": 1}, "sessions"),
    Route(
        "POST",
        "/v1/score",
        scoring.score_text,
        examples.SCORED,
        "predict or sessions",
        body=messages.ScoreBody,
        example=examples.SCORE,
    ),
    Route(
        "POST",
        _SESSION + "/migrate",
        sessions.migrate_session,
        examples.SESSION,
        "sessions",
        body=messages.MigrateBody,
        example={"version": 1},
    ),
    Route(
        "GET",
        _SESSION + "/snapshot",
        sessions.take_snapshot,
        "URSNAP1 …",
        "sessions",
        media_type="application/octet-stream",
    ),
)
