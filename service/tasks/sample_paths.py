"""Sample paths: many draws of the next values from one state row."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from service.engine.engine import Engine
from service.engine.job import Job
from service.engine.random import uniforms
from service.engine.state_table import Rows
from service.errors import InputMismatch
from service.models.model import Model
from service.tasks.series_inputs import Values

T = TypeVar("T")

_QUICK = 20_000
"""Values that are worked on at once on the event loop; more go to a thread, so that nobody waits for them."""
_ROWS_OF_A_JOB = 64


def needs_an_observation(model: Model, row: Rows) -> None:
    """Nothing can be said of a series before its first value: neither its level nor its scale is known.

    A row without statistics does not tell; what is drawn from it does, see `tells_something`.
    """
    field = next((field for field in model.manifest.state.fields if field.name == "statistics"), None)
    if field is not None and row[field.offset] == 0:
        raise nothing_observed()


def tells_something(outputs: Mapping[str, NDArray[Any]]) -> bool:
    """Whether samples are any: before the first value of a series, all of them are missing."""
    return not bool(np.isnan(outputs["samples"]).all())


def nothing_observed() -> InputMismatch:
    """What is said where a forecast is asked for before the first value."""
    return InputMismatch("series: expected at least one observed value before a forecast, got none")


async def path_draws(seed: int, position: int, horizon: int, count: int) -> Values:
    """The uniforms (N, P) of `count` paths after a position."""
    paths = np.arange(count)[:, np.newaxis]
    positions = np.arange(position + 1, position + horizon + 1)
    return await worked_out(count * horizon, lambda: uniforms(seed, positions, sample=paths))


async def worked_out(values: int, work: Callable[[], T]) -> T:
    """What `work` gives on so many values: done at once where they are few, else on a thread."""
    return work() if values <= _QUICK else await asyncio.to_thread(work)


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
