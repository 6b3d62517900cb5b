"""The route of forecasts: every input becomes a task of its own, and they run at the same time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response

from service.contract.frequency import Frequency
from service.errors import InputMismatch, UnrollError
from service.logging_setup import request_id
from service.models.model import Model
from service.protocols import arrays
from service.protocols.answering import json_answer, until_gone
from service.protocols.boundary import ours
from service.protocols.bounds import at_most
from service.protocols.context import Context, context_of
from service.protocols.kserve_timeseries.errors import told
from service.protocols.kserve_timeseries.messages import (
    MULTIVARIATE,
    UNIVARIATE,
    Content,
    ForecastOptions,
    Forecasts,
    Output,
    SeriesForecastBody,
    SeriesInput,
)
from service.protocols.reading import decode, read_body
from service.protocols.session_use import expected, model_for, opened_or_found
from service.sessions.service import OpenSession
from service.sessions.session import Session
from service.sessions.transition import Expected
from service.tasks import forecast as forecasting
from service.tasks.series_inputs import forecast_task

Columns = Mapping[str, NDArray[np.float32]] | None


@dataclass(frozen=True)
class _Series:
    """One input, read."""

    given: SeriesInput
    place: str
    model: Model
    values: NDArray[np.float32]
    start: np.datetime64 | None
    covariates: Columns


async def create_forecast(request: Request) -> Response:
    """Forecast series: KServe's open schema.

    Each input is answered for itself: where one fails and another does not, the status is `partial`. With
    `session_id` the series are new observations of a session, which is opened if there is none; `position`, or the
    header `Idempotency-Key`, makes the request safe to send again.
    """
    context = context_of(request)
    body = decode(SeriesForecastBody, await read_body(request, context.settings.max_request_bytes))
    at_most(len(body.inputs), context.settings.max_inputs, "inputs", "max_inputs", "series")
    _check_sessions(body)
    series = [
        _read(model_for(context.service, body.model, given.session_id), given, f"inputs.{index}")
        for index, given in enumerate(body.inputs)
    ]
    key = request.headers.get("idempotency-key")
    return json_answer(await until_gone(request, _forecast_all(context, body, series, key)))


def _check_sessions(body: SeriesForecastBody) -> None:
    ids = [given.session_id for given in body.inputs if given.session_id is not None]
    if twice := {one for one in ids if ids.count(one) > 1}:
        raise InputMismatch(
            f"inputs: expected each session once, got {min(twice)!r} twice: send what is new of it as one series",
            parameter="inputs",
        )


def _read(model: Model, given: SeriesInput, place: str) -> _Series:
    """One input as arrays.

    Raises:
        InputMismatch: it is not a series this model takes; nothing was done.
    """
    task = forecast_task(model)
    nested = next((index for index, value in enumerate(given.series) if isinstance(value, list)), None)
    if given.type not in (UNIVARIATE, MULTIVARIATE):
        raise InputMismatch(f"{place}.type: expected {UNIVARIATE}, got {given.type[:60]!r}", parameter=f"{place}.type")
    if given.type == MULTIVARIATE or nested is not None:
        raise InputMismatch(
            f"{place}.type: multivariate series are not supported: send each variable as an input of its own",
            parameter=f"{place}.type",
        )
    if given.frequency is not None and str(_frequency(given.frequency, place)) != task.frequency:
        raise InputMismatch(
            f"{place}.frequency: model {model.manifest.id} forecasts at {task.frequency}, got {given.frequency!r}",
            parameter=f"{place}.frequency",
        )
    if task.calendar and given.start_timestamp is None and given.session_id is None:
        raise InputMismatch(
            f"{place}.start_timestamp: model {model.manifest.id} looks at the calendar: give the first value's time",
            parameter=f"{place}.start_timestamp",
        )
    if given.position is not None and given.session_id is None:
        raise InputMismatch(f"{place}.position: expected only together with session_id", parameter=f"{place}.position")
    start = given.start_timestamp
    return _Series(
        given,
        place,
        model,
        arrays.float_array([value for value in given.series if not isinstance(value, list)], f"{place}.series"),
        None if start is None else arrays.timestamp(start, f"{place}.start_timestamp"),
        arrays.float_arrays(given.future_covariates, f"{place}.future_covariates"),
    )


def _frequency(text: str, place: str) -> Frequency:
    try:
        return Frequency.parse(text)
    except ValueError as error:
        raise InputMismatch(f"{place}.{error}", parameter=f"{place}.frequency") from None


async def _forecast_all(
    context: Context, body: SeriesForecastBody, series: list[_Series], key: str | None
) -> Forecasts:
    identifier = f"forecast-{request_id.get()}"
    outcomes = await asyncio.gather(*(_outcome(context, one, body.options, key) for one in series))
    failures = [outcome for outcome in outcomes if isinstance(outcome, UnrollError)]
    if len(failures) == len(outcomes):
        raise failures[0]
    outputs = []
    for index, outcome in enumerate(outcomes):
        if isinstance(outcome, UnrollError):
            outputs.append(Output(f"{identifier}-{index}", "error", [], told(outcome)))
        else:
            outcome.id = f"{identifier}-{index}"
            outputs.append(outcome)
    return Forecasts(identifier, int(time.time()), "partial" if failures else "completed", body.model, outputs)


async def _outcome(
    context: Context, series: _Series, options: ForecastOptions, key: str | None
) -> Output | UnrollError:
    """One input's output, or what stood against it."""
    try:
        return await _forecast_one(context, series, options, key)
    except Exception as error:
        told_of = ours(error)
        told_of.message = f"{series.place}: {told_of.message}"
        if told_of.parameter not in (None, "horizon", "quantiles"):
            told_of.parameter = f"{series.place}.{told_of.parameter}"
        return told_of


async def _forecast_one(context: Context, series: _Series, options: ForecastOptions, key: str | None) -> Output:
    if series.given.session_id is not None:
        return await _in_session(context, series, options, key)
    ahead = await forecasting.forecast_series(
        context.service,
        series.model,
        series.values,
        start=series.start,
        static=series.given.static_covariates,
        horizon=options.horizon,
        quantiles=options.quantiles or None,
        covariates=series.covariates,
        seed=options.seed or 0,
        limits=context.limits,
    )
    return Output("", "completed", [_content(series, ahead)])


async def _in_session(context: Context, series: _Series, options: ForecastOptions, key: str | None) -> Output:
    wanted = OpenSession(
        series.model.manifest.name,
        id=series.given.session_id,
        first_timestamp=series.start,
        static=series.given.static_covariates,
    )
    when = expected(series.given.position, key)
    async with opened_or_found(context.service, series.model, wanted) as (session, is_new):
        if series.given.static_covariates is not None and not is_new:
            raise InputMismatch(
                "static_covariates: expected only when the session is opened", parameter="static_covariates"
            )
        await _observe(context, session, series, when)
        ahead = await forecasting.forecast(
            session,
            horizon=options.horizon,
            quantiles=options.quantiles or None,
            covariates=_part(series.covariates, slice(len(series.values), None)),
            seed=options.seed,
            limits=context.limits,
        )
    content = [_content(series, ahead)]
    return Output("", "completed", content, session_id=session.id, position=ahead.position)


async def _observe(context: Context, session: Session, series: _Series, when: Expected) -> None:
    if not len(series.values):  # nothing is new: the forecast alone is asked for
        async with session.turn() as turn:
            turn.require_position(when.position)
        return
    timestamps = None
    if series.start is not None:
        frequency = Frequency.parse(forecast_task(session.model).frequency)
        timestamps = list(frequency.timestamps(series.start, 0, len(series.values)))
    await forecasting.observe(
        session,
        series.values,
        timestamps=timestamps,
        covariates=_part(series.covariates, slice(0, len(series.values))),
        expected=when,
        limits=context.limits,
    )


def _part(columns: Columns, steps: slice) -> Columns:
    return None if columns is None else {name: column[steps] for name, column in columns.items()}


def _content(series: _Series, ahead: forecasting.Forecast) -> Content:
    first = arrays.texts(ahead.timestamps)
    return Content(
        name=series.given.name,
        mean_forecast=ahead.mean,
        frequency=series.given.frequency or forecast_task(series.model).frequency,
        start_timestamp=first[0] if first else None,
        quantiles={repr(level): values for level, values in ahead.quantiles.items()},
    )
