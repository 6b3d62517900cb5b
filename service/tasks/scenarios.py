"""Scenarios: forecasts of one session under several futures of its covariates, compared path by path."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace

from service.engine.engine import Engine
from service.errors import InputMismatch
from service.models.model import Model
from service.sessions.again import again_if_moved
from service.sessions.session import Session
from service.tasks.distributions import Forecast, Outlook, outlook_of_paths
from service.tasks.forecast_request import ForecastRequest
from service.tasks.limits import DEFAULT_LIMITS, TaskLimits, check_count
from service.tasks.looking_ahead import Inputs, Standpoint, forecast_of, future_inputs, standpoint_of
from service.tasks.sample_paths import path_draws, run_paths, worked_out
from service.tasks.series_inputs import Covariates, Values, forecast_task

MOST_SCENARIOS = 32


@dataclass(frozen=True)
class Scenario:
    """What follows under one future, and by how much that differs from the first one, which itself has no difference.

    The paths of all scenarios are drawn from the same uniforms, so that what differs is not by chance.
    """

    forecast: Forecast
    difference: Outlook | None


@again_if_moved
async def forecast_scenarios(
    session: Session,
    asked: ForecastRequest,
    scenarios: Mapping[str, Covariates],
    *,
    limits: TaskLimits = DEFAULT_LIMITS,
) -> dict[str, Scenario]:
    """What follows under each of the named futures. The session does not move.

    Raises:
        InputMismatch, RequestTooLarge, Overloaded, SessionNotFound, StepFailed
    """
    check_count("scenarios", len(scenarios), MOST_SCENARIOS)
    asked.check(limits, len(scenarios))
    if not forecast_task(session.model).future_covariates:
        raise InputMismatch(
            f"scenarios: model {session.model.manifest.id} takes no future covariates, so that all would be alike: "
            "leave them out",
            parameter="scenarios",
        )
    at = await standpoint_of(session)
    futures = [_future(session.model, asked, at, name, covariates) for name, covariates in scenarios.items()]
    seed = session.seed if asked.seed is None else asked.seed
    with session.engine.room_for({"generate": len(futures) * asked.horizon * asked.paths}):
        draws = await path_draws(seed, at.position, asked.horizon, asked.paths)
        told = await asyncio.gather(*(run_paths(session.engine, at.row, draws, future) for future in futures))
    compared = [await _compared(session.engine, at, asked, paths, told[0]) for paths in told]
    return dict(zip(scenarios, compared, strict=True))


def _future(model: Model, asked: ForecastRequest, at: Standpoint, name: str, covariates: Covariates) -> Inputs:
    try:
        return future_inputs(model, asked, at.position, at.first, covariates)
    except InputMismatch as error:
        error.message = f"scenarios.{name[:60]}: {error.message}"
        error.parameter = f"scenarios.{name[:60]}"
        raise


async def _compared(engine: Engine, at: Standpoint, asked: ForecastRequest, paths: Values, first: Values) -> Scenario:
    own = forecast_task(engine.model).quantiles
    outlook = await worked_out(paths.size, lambda: outlook_of_paths(paths, own, asked))
    ahead = forecast_of(at, asked, "sample_paths", outlook)
    if paths is first:
        return Scenario(ahead, None)
    without_paths = replace(asked, samples=None)
    return Scenario(ahead, await worked_out(paths.size, lambda: outlook_of_paths(paths - first, own, without_paths)))
