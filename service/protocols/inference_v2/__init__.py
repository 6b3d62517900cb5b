"""The Open Inference Protocol V2 (KServe's, Triton's): tensors in, tensors out, in sequences or without.

`core` is what a request and an answer are, `infer` what is done about it; HTTP is in `http` and `wire`, gRPC in the
modules of that name. Extensions of Triton's that are served are listed in `metadata`.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from service.protocols.documentation import Needs, Route
from service.protocols.inference_v2 import examples, generate, http, wire
from service.protocols.inference_v2.errors import render

__all__ = ["HOT_ROUTES", "PREFIX", "ROUTES", "render"]

PREFIX = "/v2"

_MODEL = "/v2/models/{model}"
_VERSION = _MODEL + "/versions/{version}"
_REPOSITORY = "/v2/repository"
_KEY = {"idempotency-key": ("header", "a key of your own; the same request sent again is not carried out again")}


def _both(method: str, path: str, handler: http.Handler, answer: Any, needs: Needs, **more: Any) -> tuple[Route, Route]:
    """A model's route for its newest version, and for the version in the path."""

    async def of_newest(request: Request, model: str) -> Response:
        return await handler(request, model, "")

    async def of_version(request: Request, model: str, version: str) -> Response:
        return await handler(request, model, version)

    of_newest.__doc__ = of_version.__doc__ = handler.__doc__
    return (
        Route(method, _MODEL + path, of_newest, answer, needs, **more),
        Route(method, _VERSION + path, of_version, answer, needs, **more),
    )


_INFER = _both(
    *("POST", "/infer", http.infer, examples.INFERRED, "predict or sessions"),
    body=wire.InferBody,
    example=examples.INFER,
    parameters=_KEY,
)
_GENERATE: dict[str, Any] = {"body": generate.ContinueBody, "example": examples.GENERATE, "parameters": _KEY}
_CHANGE: dict[str, Any] = {"body": http.RepositoryBody, "example": {"parameters": {}}}

HOT_ROUTES = (_INFER[0],)

ROUTES = (
    Route("GET", "/v2/health/live", http.live, {"live": True}, "open"),
    Route("GET", "/v2/health/ready", http.ready, {"live": True, "ready": True}, "open"),
    Route("GET", "/v2", http.server_metadata, examples.SERVER, "predict"),
    # Before the routes of a model, which may not be called so then.
    Route("GET", "/v2/models/stats", http.all_statistics, examples.STATISTICS, "predict"),
    *_both("GET", "", http.model_metadata, examples.MODEL, "predict"),
    *_both("GET", "/ready", http.model_ready, {"name": "pjm-load", "ready": True}, "predict"),
    *_both("GET", "/config", http.model_config, examples.CONFIG, "predict"),
    *_both("GET", "/stats", http.model_statistics, examples.STATISTICS, "predict"),
    *_INFER,
    *_both("POST", "/generate", http.generate, examples.GENERATED, "predict or sessions", **_GENERATE),
    *_both(
        *("POST", "/generate_stream", http.generate_stream, examples.GENERATED, "predict or sessions"),
        **_GENERATE | {"example": examples.GENERATE_STREAM},
        media_type="text/event-stream",
    ),
    Route(
        "POST",
        _REPOSITORY + "/index",
        http.repository_index,
        examples.INDEX,
        "predict",
        body=http.IndexBody,
        example={"ready": False},
    ),
    Route("POST", _REPOSITORY + "/models/{model}/load", http.load_model, None, "admin", **_CHANGE),
    Route("POST", _REPOSITORY + "/models/{model}/unload", http.unload_model, None, "admin", **_CHANGE),
)
