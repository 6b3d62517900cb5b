"""What those who run the service ask: is it alive, is it ready, how is it doing."""

from __future__ import annotations

from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from service.protocols.answering import json_answer
from service.protocols.context import context_of
from service.protocols.documentation import Route


async def live(request: Request) -> Response:
    """Tell that the process answers."""
    return json_answer({"status": "live"})


async def ready(request: Request) -> Response:
    """Tell whether requests can be served; 503 with reasons where they cannot."""
    context = context_of(request)
    is_ready, reasons = context.service.ready()
    if context.traffic.draining:
        is_ready, reasons = False, [*reasons, "the service is shutting down"]
    if is_ready:
        return json_answer({"status": "ready"})
    return json_answer({"status": "not ready", "reasons": sorted(set(reasons))}, 503)


async def metrics(request: Request) -> Response:
    """Metrics in Prometheus' text format."""
    context = context_of(request)
    repository = context.service.repository
    context.metrics.on_models(len(repository.models()), len(repository.rejected))
    context.metrics.on_lag(*context.service.journal.lag())
    return Response(context.metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")


def routes(metrics_access: Literal["admin", "open"]) -> tuple[Route, ...]:
    """The routes, with metrics for whom the setting says."""
    example = "# HELP unroll_steps_total Steps computed …"
    return (
        Route("GET", "/health/live", live, {"status": "live"}, "open"),
        Route("GET", "/health/ready", ready, {"status": "ready"}, "open"),
        Route("GET", "/metrics", metrics, example, metrics_access, media_type="text/plain"),
    )
