"""Direct forecasts: the quantiles of all steps ahead in one run of the model's graph `forecast`."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.contract.manifest import ForecastTask
from service.contract.quantile_function import path_probabilities, quantile_function
from service.engine.engine import Engine
from service.engine.job import Job
from service.engine.state_table import Rows
from service.models.model import Model
from service.tasks.series_inputs import Values

_ROWS_OF_A_JOB = 64


def answers_directly(model: Model, horizon: int) -> bool:
    """Whether the model has a graph that tells so many steps at once; further ahead, all steps are drawn."""
    task = model.manifest.forecast
    return task is not None and "forecast" in model.graphs and horizon <= task.prediction_length


async def direct_quantiles(engine: Engine, rows: Rows, calendar: dict[str, NDArray[Any]]) -> Values:
    """Quantiles (B, P, Q) of the P steps after each row (B, S); NaN after one that has seen no value.

    Args:
        calendar: of those P steps, (1, P, C), where the model looks at it.
    """
    parts = [rows[first : first + _ROWS_OF_A_JOB] for first in range(0, len(rows), _ROWS_OF_A_JOB)]
    results = await asyncio.gather(*engine.submit_all([_job(part, calendar) for part in parts]))
    return np.concatenate([result.outputs["quantiles"] for result in results])


def _job(rows: Rows, calendar: dict[str, NDArray[Any]]) -> Job:
    shared = {name: np.broadcast_to(array, (len(rows), *array.shape[1:])) for name, array in calendar.items()}
    return Job("forecast", 1, {}, shared, rows=rows)


def direct_paths(task: ForecastTask, quantiles: Values, draws: Values) -> Values:
    """Sample paths (N, H) through the first steps of quantiles (P, Q), from independent uniforms (N, H)."""
    assert task.path_correlation is not None, "a manifest with the graph has it"
    known = quantiles[: draws.shape[1]]
    paths = quantile_function(known, task.quantiles, path_probabilities(draws, task.path_correlation))
    with np.errstate(over="ignore"):
        return paths.astype(np.float32)
