"""The route of forecasts: every input becomes tasks of its own, and they run at the same time."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from service.access.caller import owner, require
from service.errors import InputMismatch, UnrollError
from service.logging_setup import request_id
from service.protocols.answering import large_json_answer, until_gone
from service.protocols.bounds import at_most
from service.protocols.context import Context, context_of
from service.protocols.kserve_timeseries.errors import told
from service.protocols.kserve_timeseries.messages import (
    Forecasts,
    Output,
    SeriesForecastBody,
    SeriesInput,
    Usage,
)
from service.protocols.kserve_timeseries.reading import Read, read_input
from service.protocols.kserve_timeseries.spelling import check_spelling
from service.protocols.kserve_timeseries.writing import content_of
from service.protocols.reading import decode, read_body
from service.protocols.series import forecast_alone, observe_and_forecast, outcome, placed
from service.protocols.session_use import expected, model_for, opened_or_found
from service.sessions.service import OpenSession
from service.tasks.forecast import ForecastRequest
from service.tasks.forecast_request import check_together


async def create_forecast(request: Request) -> Response:
    """Forecast series: KServe's open schema.

    Each input is answered for itself: where one fails and another does not, the status is `partial`. A multivariate
    series of a model with covariates holds the value and then the covariates in every row; of any other model, each
    variable is forecast for itself. With `session_id` the series are new observations of a session, which is opened
    if there is none; `position`, or the header `Idempotency-Key`, makes the request safe to send again. Inputs that
    differ only in `future_covariates` are scenarios: they are drawn from the same random numbers.
    """
    context = context_of(request)
    text = await read_body(request, context.settings.max_request_bytes)
    body = decode(SeriesForecastBody, text)
    if any(given.session_id is None for given in body.inputs):
        require("predict")
    check_spelling(text)
    at_most(len(body.inputs), context.settings.max_inputs, "inputs", "max_inputs", "series")
    _check_sessions(body)
    inputs = [await _read(context, body, given, f"inputs.{index}") for index, given in enumerate(body.inputs)]
    variables = sum(len(one.series) for one in inputs if isinstance(one, Read))
    at_most(variables, context.settings.max_inputs, "inputs", "max_inputs", "series in all")
    check_together([(body.options.horizon, body.options.samples)] * variables, context.limits)
    key = request.headers.get("idempotency-key")
    return await large_json_answer(await until_gone(request, _forecast_all(context, body, inputs, key)))


def _check_sessions(body: SeriesForecastBody) -> None:
    ids = Counter(given.session_id for given in body.inputs if given.session_id is not None)
    for session_id, count in ids.most_common(1):
        if count > 1:
            raise InputMismatch(
                f"inputs: expected each session once, got {session_id[:140]!r} {count} times: send what is new of it "
                "as one series",
                parameter="inputs",
            )


async def _read(context: Context, body: SeriesForecastBody, given: SeriesInput, place: str) -> Read | UnrollError:
    try:
        model = await model_for(context.service, body.model, given.session_id)
        return read_input(model, given, body.options.horizon)
    except UnrollError as error:
        return placed(error, place)


async def _forecast_all(
    context: Context, body: SeriesForecastBody, inputs: list[Read | UnrollError], key: str | None
) -> Forecasts:
    options = body.options
    wanted = ForecastRequest(
        options.horizon,
        quantiles=options.quantiles or (),
        levels=options.levels or (),
        samples=options.samples,
        aggregate=options.aggregate or (),
        seed=options.seed,
    )
    outcomes = await asyncio.gather(*(_outcome(context, index, one, wanted, key) for index, one in enumerate(inputs)))
    failures = [one for one in outcomes if isinstance(one, UnrollError)]
    if len(failures) == len(outcomes):
        raise failures[0]
    identifier = f"forecast-{request_id.get()}"
    outputs = []
    for index, one in enumerate(outcomes):
        output = Output("", "error", [], told(one)) if isinstance(one, UnrollError) else one
        output.id = f"{identifier}-{index}"
        outputs.append(output)
    answer = Forecasts(
        identifier,
        int(time.time()),
        "partial" if failures else "completed",
        body.model,
        outputs,
        _usage(inputs, outputs, options.horizon),
    )
    if body.metadata is not None:
        answer.metadata = body.metadata
    return answer


def _usage(inputs: list[Read | UnrollError], outputs: list[Output], horizon: int) -> Usage:
    answered = [
        one.series for one, output in zip(inputs, outputs, strict=True) if isinstance(one, Read) and output.content
    ]
    taken_in = sum(len(series.values) for variables in answered for series in variables)
    ahead = horizon * sum(map(len, answered))
    return Usage(taken_in, ahead, taken_in + ahead)


async def _outcome(
    context: Context, index: int, read: Read | UnrollError, wanted: ForecastRequest, key: str | None
) -> Output | UnrollError:
    """One input's output, or what stood against it."""
    if isinstance(read, UnrollError):
        return read
    work = _alone(context, read, wanted) if read.given.session_id is None else _in_session(context, read, wanted, key)
    return await outcome(work, f"inputs.{index}")


async def _alone(context: Context, read: Read, wanted: ForecastRequest) -> Output:
    ahead = await asyncio.gather(*(forecast_alone(context, series, wanted) for series in read.series))
    return Output("", "completed", [content_of(read, ahead)])


async def _in_session(context: Context, read: Read, wanted: ForecastRequest, key: str | None) -> Output:
    (series,) = read.series
    to_open = OpenSession(
        read.model.manifest.name,
        owner=owner(),
        id=read.given.session_id,
        first_timestamp=series.start,
        frequency=series.frequency,
        static=series.static,
        durability=read.given.durability,
        anomaly_threshold=read.given.anomaly_threshold,
    )
    when = expected(read.given.position, key)
    async with opened_or_found(context.service, read.model, to_open) as (session, is_new):
        if series.static is not None and not is_new:
            raise InputMismatch(
                "static_covariates: expected only when the session is opened", parameter="static_covariates"
            )
        observed, ahead = await observe_and_forecast(context, session, series, wanted, when)
    return Output(
        "",
        "completed",
        [content_of(read, [ahead])],
        session_id=session.id,
        position=ahead.position,
        durable_position=session.durable_position,
        restored=ahead.restored or msgspec.UNSET,
        observed=observed or msgspec.UNSET,
    )
