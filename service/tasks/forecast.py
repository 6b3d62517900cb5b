"""Forecasters: take observations in, score them, and forecast by sample paths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.contract.frequency import Frequency
from service.contract.manifest import ForecastTask
from service.engine.job import Job, Outcome
from service.engine.random import uniforms
from service.errors import UnrollError
from service.models.model import Model
from service.sessions.again import again_if_moved
from service.sessions.service import Service
from service.sessions.session import Session
from service.sessions.static import StaticValues, initial_row
from service.sessions.step import Step
from service.sessions.transition import NOTHING_EXPECTED, Expected, Transition
from service.tasks.limits import DEFAULT_LIMITS, TaskLimits, check_count
from service.tasks.sample_paths import (
    Forecast,
    check_forecast,
    needs_an_observation,
    path_count,
    path_draws,
    run_paths,
    summarise,
)
from service.tasks.series_inputs import (
    Covariates,
    Placement,
    Timestamp,
    Values,
    calendar_input,
    covariate_columns,
    covariate_input,
    forecast_task,
    place,
    step_inputs,
)

__all__ = [
    "Forecast",
    "Generated",
    "Observed",
    "anomaly_scores",
    "forecast",
    "forecast_series",
    "generate",
    "observe",
    "observe_at_once",
]


@dataclass(frozen=True)
class Observed:
    """What observing gave, for each value sent.

    Args:
        start: position before, and `position` after; `filled` of the steps between were missing.
        quantiles: (T, Q) predicted before the value was seen; NaN while nothing had been observed.
        pit: (T,) where the value fell in that prediction; NaN where it is missing or nothing was predicted.
        anomaly_score: (T,) 2·|pit − ½|.
        repeated: the request had been carried out before, and this is the recorded answer.
        restored: the session was taken from the journal, and no answer has said so yet.
    """

    start: int
    position: int
    durable_position: int
    quantiles: Values
    pit: Values
    anomaly_score: Values
    filled: int
    repeated: bool
    restored: bool = False


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
async def observe(
    session: Session,
    values: Values,
    *,
    timestamps: Sequence[Timestamp] | None = None,
    covariates: Covariates | None = None,
    expected: Expected = NOTHING_EXPECTED,
    limits: TaskLimits = DEFAULT_LIMITS,
) -> Observed:
    """Take values (T,) in, NaN where missing, and score each against what was predicted for it.

    Raises:
        InputMismatch, RequestTooLarge, PositionConflict, Overloaded, SessionNotFound, StepFailed
    """
    task = forecast_task(session.model)
    check_count("values", len(values), limits.max_steps)
    digest = expected.digest("observe", values=values, timestamps=_texts(timestamps), covariates=covariates)
    async with session.turn(expected) as turn:
        last = turn.repeated(expected, digest)
        start = session.position if last is None else last.start
        placement = place(
            Frequency.parse(task.frequency),
            start,
            session.first_timestamp,
            len(values),
            timestamps,
            limits.max_gap_steps,
        )
        check_count("timestamps", placement.steps, limits.max_steps)
        recorded = last
        if recorded is None:
            job = Job("observe", placement.steps, _observe_inputs(task, start, values, covariates, placement))
            recorded = await turn.carry_out(job, expected, digest, first_timestamp=placement.first_timestamp)
        return _observed(session, recorded, placement, repeated=last is not None)


def observe_at_once(
    session: Session,
    steps: Values | list[float | None],
    then: Callable[[Step, Outcome], None],
    *,
    expected: Expected = NOTHING_EXPECTED,
    limits: TaskLimits = DEFAULT_LIMITS,
    has_turn: bool = False,
) -> bool:
    """Begin what `observe` does, without waiting for anything, and tell `then` the outcome on the event loop.

    The short way for the next steps of a session that nobody else is at. Where it is not that, or something about
    the request is wrong, nothing is begun and False returned: `observe` is to be asked, which waits, repeats or
    refuses.

    Args:
        steps: values and covariates (T, 1 + K), NaN where missing, covariates in the manifest's order; of a single
            step also a plain list of its 1 + K numbers, None where missing.
        has_turn: whether the session is held for this already, as `Session.call_in_turn` holds it; it is let go of
            where nothing is begun.
    """
    task = session.model.manifest.forecast
    length, columns = (1, len(steps)) if isinstance(steps, list) else steps.shape
    if task is None or not 0 < length <= limits.max_steps or columns != 1 + len(task.future_covariates):
        if has_turn:
            session.release()
        return False
    digest = b"" if expected is NOTHING_EXPECTED else _digest(task, steps, expected)
    step = Step.hold(session, expected, digest, has_turn=has_turn)
    if step is None:
        return False
    begun = False
    try:
        step.carry_out(Job("observe", length, _step_inputs(task, step.start, session.first_timestamp, steps)), then)
        begun = True
    except UnrollError:
        pass  # `observe` tells what is wrong
    finally:
        if not begun:
            step.give_up()
    return begun


def _digest(task: ForecastTask, steps: Values | list[float | None], expected: Expected) -> bytes:
    """The digest that `observe` would give the same values."""
    columns = np.array([steps], np.float32) if isinstance(steps, list) else steps  # (T, 1 + K)
    covariates = {name: columns[:, 1 + place] for place, name in enumerate(task.future_covariates)}
    return expected.digest("observe", values=columns[:, 0], timestamps=None, covariates=covariates or None)


def _step_inputs(
    task: ForecastTask, start: int, first: Timestamp | None, steps: Values | list[float | None]
) -> dict[str, NDArray[np.float32] | list[float | None]]:
    if isinstance(steps, list):
        inputs: dict[str, NDArray[np.float32] | list[float | None]] = {"target": steps[:1]}
        if task.future_covariates:
            inputs["covariates"] = steps[1:]
        length = 1
    else:
        inputs = {"target": steps[np.newaxis, :, 0]}
        if task.future_covariates:
            inputs["covariates"] = steps[np.newaxis, :, 1:]
        length = len(steps)
    if task.calendar:
        inputs.update(calendar_input(task, start, length, first))
    return inputs


def anomaly_scores(pit: Values) -> Values:
    """How surprising values were, in [0, 1]: 2·|pit − ½|."""
    return np.asarray(np.float32(2) * np.abs(pit - np.float32(0.5)))


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
            recorded = await turn.carry_out(Job("generate", steps, inputs), expected, digest)
        return Generated(
            recorded.start,
            recorded.position,
            session.durable_position,
            recorded.outputs["samples"],
            repeated=last is not None,
            restored=session.tell_restored(),
        )


@again_if_moved
async def forecast(
    session: Session,
    *,
    horizon: int,
    quantiles: Sequence[float] | None = None,
    samples: int | None = None,
    covariates: Covariates | None = None,
    seed: int | None = None,
    limits: TaskLimits = DEFAULT_LIMITS,
) -> Forecast:
    """The distribution of the next `horizon` values. The session does not move.

    Args:
        quantiles: levels; the model's own if None.
        samples: how many paths to return; none if None, and then PATHS of them are behind the quantiles.

    Raises:
        InputMismatch, RequestTooLarge, Overloaded, SessionNotFound, StepFailed
    """
    task = forecast_task(session.model)
    check_forecast(horizon, quantiles, samples, limits)
    async with session.turn(fresh=True) as turn:
        row, position, first = await turn.row(), session.position, session.first_timestamp
    needs_an_observation(session.model, row)
    future = step_inputs(task, position, horizon, first, covariates)
    with session.engine.room_for({"generate": horizon * path_count(samples)}):
        draws = await path_draws(session.seed if seed is None else seed, position, horizon, samples)
    paths = await run_paths(session.engine, row, draws, future)
    return await summarise(task, position, first, paths, quantiles, samples)


async def forecast_series(
    service: Service,
    model: Model,
    values: Values,
    *,
    horizon: int,
    start: Timestamp | None = None,
    static: StaticValues | None = None,
    quantiles: Sequence[float] | None = None,
    samples: int | None = None,
    covariates: Covariates | None = None,
    seed: int = 0,
    limits: TaskLimits = DEFAULT_LIMITS,
) -> Forecast:
    """The distribution of the `horizon` values after a series (T,), without any session.

    Args:
        start: timestamp of the series' first value, for models that look at the calendar.
        covariates: known-future covariates of all T + horizon steps, by name.

    Raises:
        InputMismatch, RequestTooLarge, Overloaded, StepFailed
    """
    task = forecast_task(model)
    check_count("series", len(values), limits.max_steps, unit="values")
    check_forecast(horizon, quantiles, samples, limits)
    length = len(values)
    inputs = step_inputs(task, 0, length + horizon, start, covariates)
    history = {name: array[:, :length] for name, array in inputs.items()}
    future = {name: array[:, length:] for name, array in inputs.items()}
    job = Job("observe", length, {"target": values[np.newaxis], **history}, rows=initial_row(model, static)[np.newaxis])
    with service.engines.using(model) as engine:
        with engine.room_for({"observe": length, "generate": horizon * path_count(samples)}):
            row = (await engine.submit(job)).rows[0]
            needs_an_observation(model, row)
            draws = await path_draws(seed, length, horizon, samples)
        paths = await run_paths(engine, row, draws, future)
    return await summarise(task, length, start, paths, quantiles, samples)


def _observe_inputs(
    task: ForecastTask, start: int, values: Values, covariates: Covariates | None, placement: Placement
) -> dict[str, NDArray[np.float32]]:
    columns = covariate_columns(task, len(values), covariates)
    return {
        "target": placement.spread(values)[np.newaxis],
        **calendar_input(task, start, placement.steps, placement.first_timestamp),
        **covariate_input(task, placement.spread(columns)),
    }


def _observed(session: Session, last: Transition, placement: Placement, *, repeated: bool) -> Observed:
    # Picking by index gives up the interpreter, which a single step would wait to get back.
    picked = slice(None) if placement.steps == len(placement.index) else placement.index
    pit = last.outputs["pit"][picked]
    return Observed(
        start=last.start,
        position=last.position,
        durable_position=session.durable_position,
        quantiles=last.outputs["quantiles"][picked],
        pit=pit,
        anomaly_score=anomaly_scores(pit),
        filled=placement.steps - len(placement.index),
        repeated=repeated,
        restored=session.tell_restored(),
    )


def _texts(timestamps: Sequence[Timestamp] | None) -> list[str] | None:
    return None if timestamps is None else [str(timestamp) for timestamp in timestamps]
