"""Forecasts of series as the borrowed schemas ask for them: each for itself, alone or in a session.

What differs between those schemas is reading and writing; what is done with a series once it is read is here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from service.errors import InputMismatch, UnrollError
from service.models.model import Model
from service.protocols.boundary import ours
from service.protocols.context import Context
from service.protocols.observed import ObservedValues, observed_values
from service.sessions.frequency import require_frequency, told_frequency
from service.sessions.session import Session
from service.sessions.static import StaticValues
from service.sessions.transition import Expected
from service.tasks import forecast as forecasting
from service.tasks.forecast import Forecast, ForecastRequest
from service.tasks.series_inputs import covariate_columns, forecast_task

T = TypeVar("T")

_SAID_ONCE = (None, "horizon", "quantiles", "levels", "samples", "aggregate", "idempotency-key")


@dataclass(frozen=True)
class Series:
    """One series, read: its values (T,), NaN where missing; in a session, what is new of it.

    Args:
        start: timestamp of the first value.
        frequency: time between the values, where the client has told it.
        covariates: by name, for the T steps and the P of the horizon.
    """

    model: Model
    values: NDArray[np.float32]
    start: np.datetime64 | None = None
    frequency: str | None = None
    static: StaticValues | None = None
    covariates: Mapping[str, NDArray[np.float32]] | None = None


async def forecast_alone(context: Context, series: Series, wanted: ForecastRequest) -> Forecast:
    """What follows a whole series, without any session."""
    return await forecasting.forecast_series(
        context.service,
        series.model,
        series.values,
        wanted,
        start=series.start,
        frequency=series.frequency,
        static=series.static,
        covariates=series.covariates,
        limits=context.limits,
    )


async def observe_and_forecast(
    context: Context, session: Session, series: Series, wanted: ForecastRequest, expected: Expected
) -> tuple[ObservedValues | None, Forecast]:
    """Take in what is new of a session's series, which may be nothing, and tell what that was and what follows.

    A forecast that cannot be asked for is refused before anything is taken in.
    """
    task, steps = forecast_task(session.model), len(series.values)
    wanted.check(context.limits)
    covariate_columns(task, steps + wanted.horizon, series.covariates)
    _check_frequency(session, series)
    told = None
    if steps:
        seen = await forecasting.observe(
            session,
            series.values,
            timestamps=_timestamps(session, series),
            covariates=_part(series, slice(0, steps)),
            expected=expected,
            limits=context.limits,
        )
        restored, told = seen.restored, observed_values(seen)
    else:
        async with session.turn(expected) as turn:
            turn.require_position(expected.position)
            restored = session.tell_restored()
    ahead = await forecasting.forecast(
        *(session, wanted), covariates=_part(series, slice(steps, None)), limits=context.limits
    )
    return told, replace(ahead, restored=restored)


def _check_frequency(session: Session, series: Series) -> None:
    told = told_frequency(session.model.manifest, series.frequency)
    if told not in (None, session.frequency):
        knows = "without one" if session.frequency is None else f"with {session.frequency}"
        raise InputMismatch(
            f"frequency: session {session.id} was opened {knows}, got {series.frequency!r}: leave it out, or open "
            "another session",
            parameter="frequency",
        )


def _timestamps(session: Session, series: Series) -> list[np.datetime64] | None:
    if series.start is None:
        return None
    step = require_frequency(session.model.manifest, session.step_length, "start_timestamp")
    return list(step.timestamps(series.start, 0, len(series.values)))


def _part(series: Series, steps: slice) -> Mapping[str, NDArray[np.float32]] | None:
    return None if series.covariates is None else {name: column[steps] for name, column in series.covariates.items()}


def placed(error: UnrollError, place: str) -> UnrollError:
    """The error of one of several inputs, with the input's place before its message and before its parameter.

    What is said once for all inputs keeps its name.
    """
    if error.parameter == "model":
        return error
    error.message = f"{place}: {error.message}"
    if error.parameter not in _SAID_ONCE:
        error.parameter = f"{place}.{error.parameter}"
    return error


async def outcome(work: Awaitable[T], place: str) -> T | UnrollError:
    """What became of one of several inputs: its answer, or what stood against it. Others go on either way."""
    try:
        return await work
    except Exception as error:
        return placed(ours(error), place)
