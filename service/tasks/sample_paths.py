"""Forecasts from sample paths: many draws of the next values from one state row, and what they say together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.contract.frequency import Frequency
from service.contract.manifest import ForecastTask
from service.engine.engine import Engine
from service.engine.job import Job
from service.engine.random import uniforms
from service.engine.state_table import Rows
from service.errors import InputMismatch
from service.models.model import Model
from service.tasks.limits import TaskLimits, check_count
from service.tasks.series_inputs import Timestamp, Values

_QUICK = 20_000
"""Values that are worked on at once on the event loop; more go to a thread, so that nobody waits for them."""
_ROWS_OF_A_JOB = 64
PATHS = 200
"""Sample paths behind the quantiles of a forecast when the client does not ask for paths themselves."""


@dataclass(frozen=True)
class Forecast:
    """The distribution of the next P values: their mean (P,), quantiles by level (P,), and paths (N, P) if asked.

    `restored` tells that the session was taken from the journal, where no answer has said so yet.
    """

    position: int
    timestamps: NDArray[np.datetime64] | None
    mean: Values
    quantiles: dict[float, Values]
    samples: Values | None
    restored: bool = False


def check_forecast(horizon: int, quantiles: Sequence[float] | None, samples: int | None, limits: TaskLimits) -> None:
    check_count(
        "horizon", horizon, limits.max_horizon, unit="steps", remedy="ask for less, or raise UNROLL_MAX_HORIZON"
    )
    if samples is not None:
        check_count("samples", samples, limits.max_samples)
    for level in quantiles or ():
        if not 0 < level < 1:
            raise InputMismatch(f"quantiles: expected levels between 0 and 1, got {level:g}", parameter="quantiles")


def needs_an_observation(model: Model, row: Rows) -> None:
    """Nothing can be said of a series before its first value: neither its level nor its scale is known."""
    field = next((field for field in model.manifest.state.fields if field.name == "statistics"), None)
    if field is not None and row[field.offset] == 0:
        raise InputMismatch("series: expected at least one observed value before a forecast, got none")


def path_count(samples: int | None) -> int:
    """Paths behind a forecast of which so many are asked for."""
    return PATHS if samples is None else samples


async def path_draws(seed: int, position: int, horizon: int, samples: int | None) -> Values:
    """The uniforms (N, P) of all paths after a position."""
    paths = np.arange(path_count(samples))[:, np.newaxis]
    positions = np.arange(position + 1, position + horizon + 1)
    if len(paths) * horizon <= _QUICK:
        return uniforms(seed, positions, sample=paths)
    return await asyncio.to_thread(uniforms, seed, positions, sample=paths)


async def run_paths(engine: Engine, row: Rows, draws: Values, future: dict[str, NDArray[np.float32]]) -> Values:
    """Sample paths (N, P) from one row (S,): as many rows as paths, alike but for their draws (N, P).

    They go to the engine in several jobs, so that a wide forecast does not become one long run.
    """
    parts = [draws[first : first + _ROWS_OF_A_JOB] for first in range(0, len(draws), _ROWS_OF_A_JOB)]
    results = await asyncio.gather(*engine.submit_all([_paths_job(row, part, future) for part in parts]))
    return np.concatenate([result.outputs["samples"] for result in results])


def _paths_job(row: Rows, draws: Values, future: dict[str, NDArray[np.float32]]) -> Job:
    paths, horizon = draws.shape
    shared = {name: np.broadcast_to(array, (paths, *array.shape[1:])) for name, array in future.items()}
    return Job("generate", horizon, {"uniforms": draws, **shared}, rows=np.tile(row, (paths, 1)))


async def summarise(
    task: ForecastTask,
    position: int,
    first: Timestamp | None,
    paths: Values,
    quantiles: Sequence[float] | None,
    samples: int | None,
) -> Forecast:
    """What the paths (N, P) say together."""
    levels = list(task.quantiles if quantiles is None else quantiles)
    if paths.size <= _QUICK:
        mean, values = _mean_and_quantiles(paths, levels)
    else:
        mean, values = await asyncio.to_thread(_mean_and_quantiles, paths, levels)
    timestamps = None
    if first is not None:
        timestamps = Frequency.parse(task.frequency).timestamps(first, position, paths.shape[1])
    by_level = dict(zip(levels, values, strict=True))
    return Forecast(position, timestamps, mean, by_level, paths if samples is not None else None)


def _mean_and_quantiles(paths: Values, levels: list[float]) -> tuple[Values, Values]:
    """Mean (P,) and quantiles (Q, P) of paths (N, P); paths that overflow give infinities, told without a warning."""
    with np.errstate(invalid="ignore", over="ignore"):
        values = np.quantile(paths.astype(np.float64), levels, axis=0).astype(np.float32)
        return paths.mean(axis=0, dtype=np.float64).astype(np.float32), values
