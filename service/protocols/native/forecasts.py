"""Looking ahead: from native messages to the forecast task and back, for one session or many in one request."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from service.access.caller import own
from service.errors import InputMismatch
from service.logging_setup import request_id
from service.protocols import arrays
from service.protocols.answering import json_in_turns, large_json_answer, to_json, until_gone
from service.protocols.boundary import ours
from service.protocols.bounds import at_most
from service.protocols.context import Context, context_of
from service.protocols.native import forecast_messages as messages
from service.protocols.native.errors import error_body
from service.protocols.native.messages import Interval, Quantiles
from service.protocols.reading import decode, read_body
from service.sessions.ownership import SessionKey
from service.sessions.session import Session
from service.tasks import forecast as forecasting
from service.tasks.distributions import Distribution, Outlook
from service.tasks.forecast_request import check_together

Answer = messages.Forecast | messages.ScenarioForecasts


async def forecast_session(request: Request, session_id: str) -> Response:
    """Look ahead: mean, median, quantiles and intervals of each step. The session does not move.

    Where asked for, sample paths as well, and the distribution of their sum, mean, least or largest value. A model
    with a graph for it tells as many steps as it was trained for directly (`method`); else, and further ahead, all is
    told from sample paths. `scenarios` are several futures of the covariates, drawn from the same random numbers and
    compared with the first.
    """
    context = context_of(request)
    body = decode(messages.ForecastBody, await read_body(request, context.settings.max_request_bytes))
    session = await context.service.store.get(own(session_id))
    return await large_json_answer(await until_gone(request, forecast(context, session, body)))


async def forecast_sessions(request: Request) -> Response:
    """Look ahead from many sessions in one request.

    Each is answered by itself, in the same order; one that fails has an `error` and costs the others nothing.
    """
    context = context_of(request)
    asked = decode(messages.ForecastSessionsBody, await read_body(request, context.settings.max_request_bytes))
    at_most(len(asked.sessions), context.settings.max_inputs, "sessions", "max_inputs", "sessions")
    check_together(((one.horizon, one.samples) for one in asked.sessions), context.limits)
    work = [_answer(context, own(one.session_id), one) for one in asked.sessions]
    answers = await until_gone(request, asyncio.gather(*work))
    return Response(b'{"data":[' + b",".join(answers) + b"]}", media_type="application/json")


async def _answer(context: Context, key: SessionKey, asked: messages.SessionForecast) -> bytes:
    """One session's answer in JSON, an error included."""
    try:
        session = await context.service.store.get(key)
        told = await json_in_turns(await forecast(context, session, asked))
    except Exception as error:
        told = to_json(error_body(ours(error), request_id.get() or ""))
    return b'{"session_id":%b,%b' % (to_json(asked.session_id), told[1:])


async def forecast(context: Context, session: Session, body: messages.ForecastBody) -> Answer:
    """Look ahead; the session does not move."""
    asked = forecasting.ForecastRequest(
        horizon=body.horizon,
        quantiles=body.quantiles,
        levels=body.levels or (),
        samples=body.samples,
        aggregate=body.aggregate or (),
        seed=body.seed,
    )
    if body.scenarios is not None:
        return await _scenarios(context, session, body, asked, body.scenarios)
    covariates = arrays.float_arrays(body.future_covariates, "future_covariates")
    ahead = await forecasting.forecast(session, asked, covariates=covariates, limits=context.limits)
    told = _outlook(ahead)
    return messages.Forecast(
        position=ahead.position,
        method=ahead.method,
        mean=told.mean,
        median=told.median,
        quantiles=told.quantiles,
        intervals=told.intervals,
        timestamps=arrays.texts(ahead.timestamps),
        samples=told.samples,
        aggregates=told.aggregates,
    )


async def _scenarios(
    context: Context,
    session: Session,
    body: messages.ForecastBody,
    asked: forecasting.ForecastRequest,
    scenarios: Mapping[str, messages.Covariates],
) -> messages.ScenarioForecasts:
    if body.future_covariates is not None:
        raise InputMismatch(
            "scenarios: expected in place of future_covariates, got both: leave one of them out", parameter="scenarios"
        )
    futures = {name: arrays.float_arrays(given, f"scenarios.{name}") or {} for name, given in scenarios.items()}
    told = await forecasting.forecast_scenarios(session, asked, futures, limits=context.limits)
    first = next(iter(told.values())).forecast
    return messages.ScenarioForecasts(
        position=first.position,
        method=first.method,
        scenarios={name: _scenario(one) for name, one in told.items()},
        timestamps=arrays.texts(first.timestamps),
    )


def _scenario(told: forecasting.Scenario) -> messages.Scenario:
    outlook = _outlook(told.forecast)
    return messages.Scenario(
        *(outlook.mean, outlook.median, outlook.quantiles, outlook.intervals, outlook.samples, outlook.aggregates),
        None if told.difference is None else _outlook(told.difference),
    )


def _outlook(told: Outlook) -> messages.Outlook:
    outlook = _distribution(told)
    outlook.samples = told.samples
    if told.aggregates:
        outlook.aggregates = {name: _distribution(one) for name, one in told.aggregates.items()}
    return outlook


def _distribution(told: Distribution) -> messages.Outlook:
    """Of steps (P,) with a list of quantiles for each, or of one number with one list."""
    columns = list(told.quantiles.values())
    by_level = np.stack(columns, axis=-1) if columns else np.empty((*told.mean.shape, 0), np.float32)
    some_missing = by_level.ndim > 1 and np.isnan(by_level).any()
    return messages.Outlook(
        mean=told.mean,
        median=told.median,
        quantiles=Quantiles(list(told.quantiles), arrays.rows_or_null(by_level) if some_missing else by_level),
        intervals=[Interval(level, lower, upper) for level, (lower, upper) in told.intervals.items()] or None,
    )
