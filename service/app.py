"""The application: settings in, an ASGI application out. Routes, lifespan and the one error boundary meet here."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from service.access.admission import admission, is_loopback
from service.access.caller import KeyLimits
from service.access.limits import Limits
from service.access.web import Origins, read_origins
from service.journal import Journal
from service.journal.codec import Records
from service.journal.late import LateJournal
from service.journal.location import JournalError, open_journal
from service.metrics import Metrics
from service.models.device import choose_device
from service.models.repository import Repository
from service.protocols import inference_v2, kserve_timeseries, native, openai, operations, sagemaker
from service.protocols.boundary import Boundary, refuse_route
from service.protocols.connections import Connections
from service.protocols.context import Context, Traffic
from service.protocols.documentation import Route, describe_with_structs
from service.protocols.native import frames, stream
from service.protocols.native.stream_messages import Frame
from service.protocols.pages import PagePolicy
from service.protocols.pulse import Pulse
from service.protocols.refusals import describe_refusals
from service.protocols.rendering import Renderers
from service.protocols.short_cut import ShortCut
from service.sessions.record import Record
from service.sessions.service import Service, ServiceLimits
from service.sessions.store import StoreLimits
from service.settings import Settings
from service.tasks.limits import TaskLimits

log = logging.getLogger(__name__)

_DESCRIPTION = (
    "Recurrent networks served with their memory kept. A session stands on one sequence; what arrives goes in, and "
    "the next steps' distribution comes out, without resending history. `WS /v1/sessions/{id}/stream` does all that "
    "the session routes do over one connection; `/v1/completions` works with OpenAI's clients, and "
    "`/v1/timeseries/forecast` follows KServe's open schema, and `/invocations` SageMaker's.\n\n"
    "## `WS /v1/sessions/{id}/stream`\n\n"
    f"{stream.__doc__}\n\n### Binary frames\n\n{frames.__doc__}"
)


_CORS: dict[str, Any] = {
    "allow_methods": ["GET", "POST", "DELETE"],
    "allow_headers": [
        *("authorization", "content-type", "idempotency-key", "inference-header-content-length", "x-api-key"),
        *("x-amzn-sagemaker-session-id", "x-amzn-sagemaker-target-model", "x-request-id", "x-session-id"),
    ],
    "expose_headers": [
        *("inference-header-content-length", "retry-after", "x-request-id"),
        *("x-amzn-sagemaker-closed-session-id", "x-amzn-sagemaker-new-session-id", "x-amzn-sagemaker-session-id"),
    ],
}


def create_app(settings: Settings) -> FastAPI:
    """The service as an ASGI application; models are loaded when it starts up."""
    metrics = Metrics()
    rates = Limits(_key_limits(settings), metrics)
    access = admission(settings.authentication, settings.api_keys, settings.host)
    origins = read_origins(settings.cors_origins)
    device = choose_device(
        settings.device, cuda_graphs=settings.cuda_graphs == "on", cuda_from_bytes=settings.cuda_from_bytes
    )
    repository = Repository(settings.models, device, settings.threads)
    context = Context(
        service=Service(repository, metrics, _service_limits(settings), _journal(settings), rates),
        settings=settings,
        metrics=metrics,
        traffic=Traffic(pulse=Pulse(on_shed=metrics.on_shed)),
        limits=_task_limits(settings),
        access=access,
        rates=rates,
        origins=Origins(origins, only_here=not access.required and is_loopback(settings.host)),
        connections=Connections(
            *(settings.max_connections, settings.request_timeout_s, settings.answer_timeout_s), watch=metrics
        ),
    )
    # The documentation page brings its own scripts: it must also show where nothing else can be reached.
    app = FastAPIOffline(
        title="Unroll",
        description=_DESCRIPTION,
        lifespan=_lifespan,
        redirect_slashes=False,
        # The framework would look for exporters at every request, and send where the environment says.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.context = context
    routes = _add_routes(app, settings)
    protocols = (inference_v2, openai, kserve_timeseries, sagemaker, native)
    renderers = Renderers([(protocol.PREFIX, protocol.render) for protocol in protocols])
    app.state.renderers = renderers
    open_paths = {route.path for route in routes if route.needs == "open"}
    app.add_middleware(ShortCut, routes=(*native.HOT_ROUTES, *inference_v2.HOT_ROUTES, *openai.HOT_ROUTES))
    app.add_middleware(Boundary, context=context, renderers=renderers, open_paths=open_paths)
    app.add_middleware(PagePolicy)
    if origins:
        # Outermost: a browser asks first, without a key, whether a page may.
        app.add_middleware(CORSMiddleware, allow_origins=origins, **_CORS)
    # Both only hand the error on to the boundary, which renders it in the shape its path asks for.
    app.add_exception_handler(HTTPException, refuse_route)
    app.add_exception_handler(RequestValidationError, _hand_on)
    return app


async def _hand_on(_: object, error: Exception) -> None:
    raise error


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    context: Context = app.state.context
    report = await context.service.start()
    loaded = [model.manifest.id for model in report.loaded]
    log.info("models loaded", extra={"models": loaded, "device": context.service.repository.device.name})
    try:
        async with context.access.looking(), context.traffic.pulse.beating(), _grpc(context):
            yield
    finally:
        context.traffic.draining = True
        await context.service.stop(context.settings.shutdown_grace_s)


@asynccontextmanager
async def _grpc(context: Context) -> AsyncIterator[None]:
    """The gRPC port, unless it is turned off; then nothing of gRPC is imported."""
    if context.settings.grpc_port < 0:
        yield
        return
    from service.protocols.inference_v2.grpc_server import listening

    async with listening(context) as context.ports["grpc"]:
        yield


def _add_routes(app: FastAPI, settings: Settings) -> list[Route]:
    """Register all that is served, and return what of it the page describes."""
    sections = (
        ("sessions and models", native.ROUTES),
        ("Open Inference Protocol V2", inference_v2.ROUTES),
        ("OpenAI completions", openai.ROUTES),
        ("KServe time series", kserve_timeseries.ROUTES),
        ("SageMaker", sagemaker.ROUTES),
        ("operations", operations.routes(settings.metrics_access)),
    )
    for tag, routes in sections:
        for route in routes:
            route.add_to(app, tag)
    app.router.add_api_websocket_route(native.WEBSOCKET, native.stream_session)
    described = [route for _, routes in sections for route in routes]
    # The renderers come with the protocols, after the routes; the page is made when it is first asked for.
    describe_with_structs(app, described, [Frame], lambda page: describe_refusals(page, described, app.state.renderers))
    return described


def _journal(settings: Settings) -> Journal:
    def open_one() -> Journal:
        return open_journal(settings.journal, Records(Record))

    try:
        return open_one()
    except JournalError as error:
        # What needs no session is served all the same, readiness tells why the rest is not, and it is tried again.
        log.error("%s", error)
        return LateJournal(open_one, error)


def _service_limits(settings: Settings) -> ServiceLimits:
    store = StoreLimits(
        *(settings.max_sessions, settings.session_time_to_live_s, settings.max_time_to_live_s, settings.durability)
    )
    return ServiceLimits(
        *(store, settings.resident_sessions, settings.max_queue, settings.snapshot_key, settings.max_queue_s),
        prefix_cache_bytes=settings.prefix_cache_bytes,
    )


def _key_limits(settings: Settings) -> KeyLimits:
    return KeyLimits(
        requests_per_s=settings.key_requests_per_s or None,
        request_burst=settings.key_request_burst or None,
        steps_per_s=settings.key_steps_per_s or None,
        max_sessions=settings.key_sessions or None,
        max_streams=settings.key_streams or None,
    )


def _task_limits(settings: Settings) -> TaskLimits:
    return TaskLimits(
        max_steps=settings.max_steps,
        max_horizon=settings.max_horizon,
        max_samples=settings.max_samples,
        max_tokens=settings.max_tokens,
        max_gap_steps=settings.max_gap_steps,
    )
