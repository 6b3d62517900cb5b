"""The routes of SageMaker's container contract: forecasts in DeepAR's shape, alone or in a session, and the ping."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from service.access.caller import own, owner, require
from service.errors import InputMismatch, UnrollError
from service.models.model import Model
from service.protocols import operations
from service.protocols.answering import json_in_turns, large_json_answer, until_gone
from service.protocols.bounds import at_most
from service.protocols.context import Context, context_of
from service.protocols.reading import decode, read_body
from service.protocols.sagemaker.messages import (
    Configuration,
    Instance,
    InvocationBody,
    Line,
    Prediction,
    Predictions,
)
from service.protocols.sagemaker.models import chosen_model, named_model
from service.protocols.sagemaker.reading import prediction, read_configuration, read_instance
from service.protocols.sagemaker.sessions import (
    NEW,
    SESSION_ID,
    is_of_sessions,
    new_id,
    open_or_close,
    opened_headers,
    session_id_of,
)
from service.protocols.series import Series, forecast_alone, observe_and_forecast, outcome, placed
from service.protocols.session_use import expected, model_for, opened_or_found
from service.sessions.service import OpenSession
from service.tasks.forecast import ForecastRequest

JSON_LINES = "application/jsonlines"
Configured = tuple[Instance, Configuration]


async def ping(request: Request) -> Response:
    """Tell SageMaker whether requests can be served; 503 with reasons where they cannot."""
    return await operations.ready(request)


async def invoke(request: Request) -> Response:
    """Forecast series in DeepAR's shape, as many steps as the model was trained to forecast.

    JSON, or JSON Lines with an instance a line. The model is the one that the header `X-Amzn-SageMaker-Target-Model`
    names, else the body's `model`, else the setting `invocations_model`, else the only forecaster. The body
    `{"requestType": "NEW_SESSION"}` opens a session; with `X-Amzn-SageMaker-Session-Id` an instance holds what is new
    of it; `{"requestType": "CLOSE"}` closes it.
    """
    context = context_of(request)
    text = await read_body(request, context.settings.max_request_bytes)
    in_lines = "jsonlines" in request.headers.get("content-type", "")
    of_sessions = not in_lines and is_of_sessions(text)
    require("sessions" if of_sessions or session_id_of(request) is not None else "predict")
    if of_sessions:
        return await open_or_close(request, context, text)
    body, given = _lines(context, text) if in_lines else _whole(context, text)
    if session_id_of(request) is None:
        answer, headers = await until_gone(request, _alone(request, context, body, given)), None
    else:
        answer, headers = await until_gone(request, _in_session(request, context, body, given))
    if in_lines:
        lines = b"".join([await json_in_turns(prediction) + b"\n" for prediction in answer.predictions])
        return Response(lines, headers=headers, media_type=JSON_LINES)
    return await large_json_answer(answer, headers)


def _whole(context: Context, text: bytes) -> tuple[InvocationBody, list[Configured]]:
    body = decode(InvocationBody, text)
    _check_count(context, len(body.instances))
    configuration = body.configuration or Configuration()
    return body, [(instance, configuration) for instance in body.instances]


def _lines(context: Context, text: bytes) -> tuple[InvocationBody, list[Configured]]:
    """An instance from every line that is not empty."""
    texts = [line for line in text.split(b"\n") if line.strip()]
    _check_count(context, len(texts))
    lines: list[Line] = []
    for line in texts:
        try:
            lines.append(decode(Line, line, "line"))
        except UnrollError as error:
            raise placed(error, f"instances.{len(lines)}") from None
    if not lines:
        raise InputMismatch("instances: expected at least one line, got none", parameter="instances")
    return InvocationBody(instances=[*lines]), [(line, line.configuration or Configuration()) for line in lines]


def _check_count(context: Context, count: int) -> None:
    at_most(count, context.settings.max_inputs, "instances", "max_inputs", "series")


async def _alone(request: Request, context: Context, body: InvocationBody, given: Sequence[Configured]) -> Predictions:
    for name, value in (("position", body.position), ("durability", body.durability)):
        if value is not None:
            raise InputMismatch(f"{name}: expected only together with {SESSION_ID}", parameter=name)
    model = chosen_model(request, context, body.model)
    work = [_read(model, one, index) for index, one in enumerate(given)]
    outcomes = await asyncio.gather(
        *(
            outcome(_predict(context, series, wanted, configuration), f"instances.{index}")
            for index, ((series, wanted), (_, configuration)) in enumerate(zip(work, given, strict=True))
        )
    )
    failures = [one for one in outcomes if isinstance(one, UnrollError)]
    if failures:
        raise failures[0]
    return Predictions([one for one in outcomes if isinstance(one, Prediction)])


async def _predict(
    context: Context, series: Series, wanted: ForecastRequest, configuration: Configuration
) -> Prediction:
    return prediction(await forecast_alone(context, series, wanted), configuration)


def _read(
    model: Model, given: Configured, index: int, *, in_session: bool = False, opening: bool = True
) -> tuple[Series, ForecastRequest]:
    instance, configuration = given
    wanted = read_configuration(model, configuration)
    try:
        return read_instance(model, instance, in_session=in_session, opening=opening), wanted
    except InputMismatch as error:
        raise placed(error, f"instances.{index}") from None


async def _in_session(
    request: Request, context: Context, body: InvocationBody, given: Sequence[Configured]
) -> tuple[Predictions, dict[str, str] | None]:
    """The prediction of a session, which is opened for a NEW_SESSION, and what to tell of one that was."""
    if len(given) != 1:
        raise InputMismatch(f"instances: expected one in a session, got {len(given)}", parameter="instances")
    session_id = session_id_of(request)
    opening = session_id == NEW
    if opening:
        model = chosen_model(request, context, body.model)
    else:
        assert session_id is not None
        found = (await context.service.store.get(own(session_id))).model
        model = await model_for(context.service, named_model(request, body.model) or found.manifest.id, session_id)
    series, wanted = _read(model, given[0], 0, in_session=True, opening=opening)
    to_open = OpenSession(
        model.manifest.name,
        owner=owner(),
        id=new_id() if opening else session_id,
        first_timestamp=series.start,
        static=series.static,
        durability=body.durability,
    )
    when = expected(body.position, request.headers.get("idempotency-key"))
    async with opened_or_found(context.service, model, to_open) as (session, _):
        observed, ahead = await observe_and_forecast(context, session, series, wanted, when)
    told = prediction(ahead, given[0][1])
    predictions = Predictions([told], ahead.position, session.durable_position, ahead.restored, observed)
    return predictions, opened_headers(session) if opening else None
