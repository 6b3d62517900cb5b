"""Forecasts of series as the borrowed schemas ask for them: each for itself, alone or in a session.

What differs between those schemas is reading and writing; what is done with a series once it is read is here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from service.contract.frequency import Frequency
from service.contract.manifest import ForecastTask
from service.errors import UnrollError
from service.models.model import Model
from service.protocols.boundary import ours
from service.protocols.context import Context
from service.sessions.session import Session
from service.sessions.static import StaticValues
from service.sessions.transition import Expected
from service.tasks import forecast as forecasting
from service.tasks.forecast import Forecast
from service.tasks.sample_paths import check_forecast
from service.tasks.series_inputs import covariate_columns, forecast_task

T = TypeVar("T")


@dataclass(frozen=True)
class Series:
    """One series, read: its values (T,), NaN where missing; in a session, what is new of it.

    Args:
        start: timestamp of the first value.
        covariates: by name, for the T steps and the P of the horizon.
    """

    model: Model
    values: NDArray[np.float32]
    start: np.datetime64 | None = None
    static: StaticValues | None = None
    covariates: Mapping[str, NDArray[np.float32]] | None = None


@dataclass(frozen=True)
class Wanted:
    """What to tell of the next `horizon` values; `samples` asks for that many paths themselves."""

    horizon: int
    quantiles: Sequence[float] = ()
    samples: int | None = None
    seed: int | None = None


async def forecast_alone(context: Context, series: Series, wanted: Wanted) -> Forecast:
    """What follows a whole series, without any session."""
    return await forecasting.forecast_series(
        context.service,
        series.model,
        series.values,
        start=series.start,
        static=series.static,
        horizon=wanted.horizon,
        quantiles=wanted.quantiles,
        samples=wanted.samples,
        covariates=series.covariates,
        seed=wanted.seed or 0,
        limits=context.limits,
    )


async def observe_and_forecast(
    context: Context, session: Session, series: Series, wanted: Wanted, expected: Expected
) -> Forecast:
    """Take in what is new of a session's series, which may be nothing, and tell what follows.

    A forecast that cannot be asked for is refused before anything is taken in.
    """
    task, steps = forecast_task(session.model), len(series.values)
    check_forecast(wanted.horizon, wanted.quantiles, wanted.samples, context.limits)
    covariate_columns(task, steps + wanted.horizon, series.covariates)
    if steps:
        seen = await forecasting.observe(
            session,
            series.values,
            timestamps=_timestamps(task, series),
            covariates=_part(series, slice(0, steps)),
            expected=expected,
            limits=context.limits,
        )
        restored = seen.restored
    else:
        async with session.turn(expected) as turn:
            turn.require_position(expected.position)
            restored = session.tell_restored()
    ahead = await forecasting.forecast(
        session,
        horizon=wanted.horizon,
        quantiles=wanted.quantiles,
        samples=wanted.samples,
        covariates=_part(series, slice(steps, None)),
        seed=wanted.seed,
        limits=context.limits,
    )
    return replace(ahead, restored=restored)


def _timestamps(task: ForecastTask, series: Series) -> list[np.datetime64] | None:
    if series.start is None:
        return None
    return list(Frequency.parse(task.frequency).timestamps(series.start, 0, len(series.values)))


def _part(series: Series, steps: slice) -> Mapping[str, NDArray[np.float32]] | None:
    return None if series.covariates is None else {name: column[steps] for name, column in series.covariates.items()}


def placed(error: UnrollError, place: str) -> UnrollError:
    """The error of one of several inputs, with the input's place before its message and before its parameter.

    What is said once for all inputs keeps its name.
    """
    if error.parameter == "model":
        return error
    error.message = f"{place}: {error.message}"
    if error.parameter not in (None, "horizon", "quantiles", "samples", "idempotency-key"):
        error.parameter = f"{place}.{error.parameter}"
    return error


async def outcome(work: Awaitable[T], place: str) -> T | UnrollError:
    """What became of one of several inputs: its answer, or what stood against it. Others go on either way."""
    try:
        return await work
    except Exception as error:
        return placed(ours(error), place)
