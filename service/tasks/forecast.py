"""Forecasters: what can be asked of them, and drawing values that are taken for observed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from service.engine.job import Job
from service.engine.random import uniforms
from service.sessions.again import again_if_moved
from service.sessions.session import Session
from service.sessions.transition import NOTHING_EXPECTED, Expected
from service.tasks.distributions import Forecast
from service.tasks.forecast_request import ForecastRequest
from service.tasks.limits import DEFAULT_LIMITS, TaskLimits, check_count
from service.tasks.looking_ahead import forecast, forecast_series
from service.tasks.observe import Observed, observe, observe_at_once
from service.tasks.sample_paths import needs_an_observation, nothing_observed, tells_something
from service.tasks.scenarios import Scenario, forecast_scenarios
from service.tasks.series_inputs import Covariates, Values, forecast_task, step_inputs

__all__ = [
    "Forecast",
    "ForecastRequest",
    "Generated",
    "Observed",
    "Scenario",
    "forecast",
    "forecast_scenarios",
    "forecast_series",
    "generate",
    "observe",
    "observe_at_once",
]


@dataclass(frozen=True)
class Generated:
    """Values (T,) that the model drew and then took for observed."""

    start: int
    position: int
    durable_position: int
    values: Values
    repeated: bool
    restored: bool = False


@again_if_moved
async def generate(
    session: Session,
    steps: int,
    *,
    covariates: Covariates | None = None,
    seed: int | None = None,
    expected: Expected = NOTHING_EXPECTED,
    limits: TaskLimits = DEFAULT_LIMITS,
) -> Generated:
    """Draw the next values and take them for observed: the session moves as if they had been sent.

    Raises:
        InputMismatch, RequestTooLarge, PositionConflict, Overloaded, SessionNotFound, StepFailed
    """
    task = forecast_task(session.model)
    check_count("steps", steps, limits.max_horizon)
    digest = expected.digest("generate", steps=steps, covariates=covariates, seed=seed)
    async with session.turn(expected) as turn:
        recorded = last = turn.repeated(expected, digest)
        if recorded is None:
            start = session.position
            needs_an_observation(session.model, await turn.row())
            inputs = step_inputs(task, start, steps, session.first_timestamp, covariates)
            positions = np.arange(start + 1, start + steps + 1)
            inputs["uniforms"] = uniforms(session.seed if seed is None else seed, positions)[np.newaxis]
            job = Job("generate", steps, inputs, commit_if=tells_something)
            recorded = await turn.carry_out(job, expected, digest)
            if not tells_something(recorded.outputs):
                raise nothing_observed()
        return Generated(
            recorded.start,
            recorded.position,
            session.durable_position,
            recorded.outputs["samples"],
            repeated=last is not None,
            restored=session.tell_restored(),
        )
