"""Forecasters take observations in and score them: the long way, which waits and repeats and refuses, or the short."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.contract.manifest import ForecastTask
from service.engine.job import Job
from service.errors import UnrollError
from service.sessions.again import again_if_moved
from service.sessions.session import Session
from service.sessions.step import Step
from service.sessions.transition import NOTHING_EXPECTED, Expected, Transition
from service.tasks.anomalies import Interval, Then, count_anomalies, counting, expected_of, flags, scores_in
from service.tasks.limits import DEFAULT_LIMITS, TaskLimits, check_count
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
)


@dataclass(frozen=True)
class Observed:
    """What observing gave, for each value sent.

    Args:
        start: position before, and `position` after; `filled` of the steps between were missing.
        quantiles: (T, Q) predicted before the value was seen; NaN while nothing had been observed.
        expected: (T,) the median of that prediction, and `interval` around it.
        pit: (T,) where the value fell in that prediction; NaN where it is missing or nothing was predicted.
        anomaly_score: (T,) in [0, 1], the model's own or 2·|pit − ½|; NaN where the pit is.
        anomaly: (T,) whether the score reached the session's threshold; None where there is none.
        repeated: the request had been carried out before, and this is the recorded answer.
        restored: the session was taken from the journal, and no answer has said so yet.
    """

    start: int
    position: int
    durable_position: int
    quantiles: Values
    expected: Values
    interval: Interval
    pit: Values
    anomaly_score: Values
    anomaly: NDArray[np.bool_] | None
    filled: int
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
            session.step_length,
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
    then: Then,
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
        job = Job("observe", length, _step_inputs(task, step.start, session.first_timestamp, steps))
        step.carry_out(job, counting(session, then))
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
    quantiles, scores = last.outputs["quantiles"][picked], scores_in(last.outputs)[picked]
    expected, interval = expected_of(forecast_task(session.model), quantiles)
    anomaly = flags(session, scores)
    if anomaly is not None and not repeated:
        count_anomalies(session, int(anomaly.sum()))
    return Observed(
        start=last.start,
        position=last.position,
        durable_position=session.durable_position,
        quantiles=quantiles,
        expected=expected,
        interval=interval,
        pit=last.outputs["pit"][picked],
        anomaly_score=scores,
        anomaly=anomaly,
        filled=placement.steps - len(placement.index),
        repeated=repeated,
        restored=session.tell_restored(),
    )


def _texts(timestamps: Sequence[Timestamp] | None) -> list[str] | None:
    return None if timestamps is None else [str(timestamp) for timestamp in timestamps]
