"""Forecasts: what follows a session or a series, told by the model directly where it can, else by sample paths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.contract.frequency import Frequency
from service.contract.manifest import GraphName
from service.engine.engine import Engine
from service.engine.job import Job
from service.engine.state_table import Rows
from service.models.model import Model
from service.sessions.again import again_if_moved
from service.sessions.frequency import frequency_of, require_frequency, told_frequency
from service.sessions.service import Service
from service.sessions.session import Session
from service.sessions.static import StaticValues, initial_row
from service.tasks.direct import answers_directly, direct_paths, direct_quantiles
from service.tasks.distributions import Forecast, Method, Outlook, outlook_of_paths, outlook_of_quantiles
from service.tasks.forecast_request import ForecastRequest
from service.tasks.limits import DEFAULT_LIMITS, TaskLimits, check_count
from service.tasks.sample_paths import needs_an_observation, nothing_observed, path_draws, run_paths, worked_out
from service.tasks.series_inputs import (
    Covariates,
    Timestamp,
    Values,
    calendar_input,
    covariate_columns,
    forecast_task,
    history_graph,
    step_inputs,
)

Inputs = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Standpoint:
    """From where a forecast looks ahead: a row (S,) and its position; and time, where it is known."""

    row: Rows
    position: int
    first: Timestamp | None = None
    frequency: Frequency | None = None


@again_if_moved
async def forecast(
    session: Session,
    asked: ForecastRequest,
    *,
    covariates: Covariates | None = None,
    limits: TaskLimits = DEFAULT_LIMITS,
) -> Forecast:
    """The distribution of the next values. The session does not move.

    Raises:
        InputMismatch, RequestTooLarge, Overloaded, SessionNotFound, StepFailed
    """
    asked.check(limits)
    at = await standpoint_of(session)
    future = future_inputs(session.model, asked, at.position, at.first, covariates)
    with session.engine.room_for(cost_of(session.model, asked)):
        draws = await draws_for(session.model, asked, session.seed, at.position)
    return await look_ahead(session.engine, at, asked, draws, future)


async def forecast_series(
    service: Service,
    model: Model,
    values: Values,
    asked: ForecastRequest,
    *,
    start: Timestamp | None = None,
    frequency: str | None = None,
    static: StaticValues | None = None,
    covariates: Covariates | None = None,
    limits: TaskLimits = DEFAULT_LIMITS,
) -> Forecast:
    """The distribution of the values after a series (T,), without any session.

    Args:
        start: timestamp of the series' first value, for models that look at the calendar.
        frequency: time between its values, where the model only counts them.
        covariates: known-future covariates of all T + horizon steps, by name.

    Raises:
        InputMismatch, RequestTooLarge, Overloaded, StepFailed
    """
    task = forecast_task(model)
    check_count("series", len(values), limits.max_steps, unit="values")
    asked.check(limits)
    length, told = len(values), told_frequency(model.manifest, frequency)
    step = frequency_of(model.manifest, told)
    if start is not None:
        require_frequency(model.manifest, step, "start_timestamp")
    inputs = step_inputs(task, 0, length + asked.horizon, start, covariates)
    history = {name: array[:, :length] for name, array in inputs.items()}
    initial = initial_row(model, static, told)
    graph = history_graph(model)
    job = Job(graph, length, {"target": values[np.newaxis], **history}, rows=initial[np.newaxis])
    with service.engines.using(model) as engine:
        with engine.room_for({graph: length, **cost_of(model, asked)}):
            at = Standpoint((await engine.submit(job)).rows[0], length, start, step)
            needs_an_observation(model, at.row)
            draws = await draws_for(model, asked, 0, length)
        if answers_directly(model, asked.horizon):
            future = calendar_input(task, length, task.prediction_length, start)
        else:
            future = {name: array[:, length:] for name, array in inputs.items()}
        return await look_ahead(engine, at, asked, draws, future)


async def standpoint_of(session: Session) -> Standpoint:
    """Where a session stands now.

    Raises:
        InputMismatch: before any value, so that nothing can be said of what follows.
        SessionNotFound, SessionMoved
    """
    async with session.turn(fresh=True) as turn:
        at = Standpoint(await turn.row(), session.position, session.first_timestamp, session.step_length)
    needs_an_observation(session.model, at.row)
    return at


def future_inputs(
    model: Model, asked: ForecastRequest, position: int, first: Timestamp | None, covariates: Covariates | None
) -> Inputs:
    """What is known of the steps ahead, as the graph that is asked takes it: (1, P, …) each.

    Raises:
        InputMismatch: as `step_inputs`.
    """
    task = forecast_task(model)
    if not answers_directly(model, asked.horizon):
        return step_inputs(task, position, asked.horizon, first, covariates)
    covariate_columns(task, asked.horizon, covariates)
    # Its graph tells all its steps, however few are wanted.
    return calendar_input(task, position, task.prediction_length, first)


def cost_of(model: Model, asked: ForecastRequest) -> Mapping[GraphName, int]:
    """Row-steps that the engine is asked for, by graph."""
    return {"forecast": 1} if answers_directly(model, asked.horizon) else {"generate": asked.horizon * asked.paths}


async def draws_for(model: Model, asked: ForecastRequest, seed: int, position: int) -> Values | None:
    """The uniforms (N, P) of all sample paths, if there are any; `seed` is for who asks for none."""
    if answers_directly(model, asked.horizon) and not asked.needs_paths:
        return None
    return await path_draws(seed if asked.seed is None else asked.seed, position, asked.horizon, asked.paths)


async def look_ahead(
    engine: Engine, at: Standpoint, asked: ForecastRequest, draws: Values | None, future: Inputs
) -> Forecast:
    """The forecast from one row; all of it is made in one way, so that its parts agree."""
    if answers_directly(engine.model, asked.horizon):
        quantiles = await direct_quantiles(engine, at.row[np.newaxis], future)
        return forecast_of(at, asked, "direct", await outlook_directly(engine.model, quantiles[0], draws, asked))
    assert draws is not None, "sample paths need draws"
    paths = await run_paths(engine, at.row, draws, future)
    if np.isnan(paths).all():
        raise nothing_observed()
    own = forecast_task(engine.model).quantiles
    outlook = await worked_out(paths.size, lambda: outlook_of_paths(paths, own, asked))
    return forecast_of(at, asked, "sample_paths", outlook)


async def outlook_directly(model: Model, quantiles: Values, draws: Values | None, asked: ForecastRequest) -> Outlook:
    """What the model's quantiles (P, Q) say of as many of the steps as are wanted.

    Raises:
        InputMismatch: nothing has been observed yet.
    """
    task, known = forecast_task(model), quantiles[: asked.horizon]
    if np.isnan(known).all():
        raise nothing_observed()

    def outlook() -> Outlook:
        paths = None if draws is None else direct_paths(task, known, draws)
        return outlook_of_quantiles(known, paths, task.quantiles, asked)

    return await worked_out(known.shape[0] if draws is None else draws.size, outlook)


def forecast_of(at: Standpoint, asked: ForecastRequest, method: Method, outlook: Outlook) -> Forecast:
    """An outlook with when and from where."""
    timestamps = None
    if at.first is not None and at.frequency is not None:
        timestamps = at.frequency.timestamps(at.first, at.position, asked.horizon)
    return Forecast(**vars(outlook), position=at.position, timestamps=timestamps, method=method)
