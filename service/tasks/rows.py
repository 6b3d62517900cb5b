"""Many sequences in one request, each a row that starts from the initial state, without any session."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.contract.manifest import ForecastTask
from service.engine.engine import Engine
from service.engine.job import Job
from service.engine.state_table import Rows
from service.errors import InputMismatch
from service.models.model import Model
from service.sessions.service import Service
from service.sessions.static import StaticValues, initial_row
from service.tasks.classify import check_ids
from service.tasks.limits import DEFAULT_LIMITS, TaskLimits, check_count
from service.tasks.sample_paths import PATHS, check_forecast, needs_an_observation, path_draws, run_paths, summarise
from service.tasks.series_inputs import Timestamp, Values, calendar_input
from service.tasks.text import text_task

Arrays = dict[str, NDArray[Any]]

_ROWS_OF_A_JOB = 64
"""So that a wide request does not become one long run."""


@dataclass(frozen=True)
class Ahead:
    """The distribution of the P values after each row: mean (B, P) and quantiles (B, P, Q) at the model's levels."""

    mean: Values
    quantiles: Values


@dataclass(frozen=True)
class Future:
    """How far to look ahead, and the known covariates (B, P, K) of that time, for models that take any."""

    horizon: int
    covariates: Values | None
    seed: int = 0


async def observe_series(
    service: Service,
    model: Model,
    inputs: Arrays,
    *,
    start: Timestamp | None = None,
    static: StaticValues | None = None,
    future: Future | None = None,
    limits: TaskLimits = DEFAULT_LIMITS,
) -> tuple[Arrays, Ahead | None]:
    """What a forecaster says of whole series: its outputs (B, T, …) for every value, and what comes after.

    Args:
        inputs: target (B, T), NaN where missing, and covariates (B, T, K) where the model takes them.
        start: timestamp of every series' first value, for models that look at the calendar.

    Raises:
        InputMismatch, RequestTooLarge, Overloaded, StepFailed
    """
    task = model.manifest.forecast
    assert task is not None
    rows, steps = inputs["target"].shape
    _check_size(rows, steps, limits)
    if future is not None:
        check_forecast(future.horizon, None, None, limits)
    calendar = _for_all(rows, calendar_input(task, 0, steps, start))
    ahead_steps = 0 if future is None else rows * future.horizon * PATHS
    with service.engines.using(model) as engine:
        with engine.room_for({"observe": rows * steps, "generate": ahead_steps}):
            outputs, after = await _run(engine, rows, steps, inputs | calendar, initial_row(model, static))
        ahead = None if future is None else await _ahead(engine, task, steps, after, future, start)
    return outputs, ahead


async def score_tokens(
    service: Service, model: Model, tokens: NDArray[np.int64], limits: TaskLimits = DEFAULT_LIMITS
) -> Arrays:
    """What a model says of each of the tokens (B, T): its outputs (B, T, …), of a text model how likely it held them.

    Raises:
        InputMismatch, RequestTooLarge, Overloaded, StepFailed
    """
    rows, steps = tokens.shape
    _check_size(rows, steps, limits)
    check_tokens(model, tokens)
    with service.engines.using(model) as engine:
        outputs, _ = await _run(engine, rows, steps, {"tokens": tokens}, initial_row(model, None))
    return outputs


def check_tokens(model: Model, tokens: NDArray[np.int64]) -> None:
    """Check tokens of any shape.

    Raises:
        InputMismatch: one is not in the vocabulary.
    """
    if model.manifest.classify is not None:
        check_ids(model, tokens)
        return
    task, _ = text_task(model)
    wrong = (tokens < 0) | (tokens >= task.vocabulary_size)
    if task.unknown_token is not None:
        wrong |= tokens == task.unknown_token
    if wrong.any():
        but = "" if task.unknown_token is None else f", other than {task.unknown_token}"
        raise InputMismatch(
            f"tokens: expected token ids from 0 to {task.vocabulary_size - 1}{but}, got {tokens[wrong][0]}",
            parameter="tokens",
        )


def _check_size(rows: int, steps: int, limits: TaskLimits) -> None:
    check_count("steps", rows * steps, limits.max_steps)


def _for_all(rows: int, inputs: Arrays) -> Arrays:
    """Inputs (1, T, …) that are the same for every row."""
    return {name: np.broadcast_to(array, (rows, *array.shape[1:])) for name, array in inputs.items()}


async def _run(engine: Engine, rows: int, steps: int, inputs: Arrays, initial: Rows) -> tuple[Arrays, Rows]:
    """What all rows give in `observe`, and the rows (B, S) after it; several jobs where they are many."""
    jobs = []
    for first in range(0, rows, _ROWS_OF_A_JOB):
        part = {name: array[first : first + _ROWS_OF_A_JOB] for name, array in inputs.items()}
        width = min(_ROWS_OF_A_JOB, rows - first)
        jobs.append(Job("observe", steps, part, rows=np.tile(initial, (width, 1))))
    results = await asyncio.gather(*engine.submit_all(jobs))
    parts = [result.outputs for result in results]
    outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return outputs, np.concatenate([result.rows for result in results])


async def _ahead(
    engine: Engine, task: ForecastTask, steps: int, rows: Rows, future: Future, start: Timestamp | None
) -> Ahead:
    """What comes after each row, NaN after no value at all; one by one, since each is a batch of paths already."""
    calendar = calendar_input(task, steps, future.horizon, start)
    draws = await path_draws(future.seed, steps, future.horizon, None)
    means, quantiles = [], []
    for index, row in enumerate(rows):
        if not _was_observed(engine.model, row):
            means.append(np.full(future.horizon, np.nan, np.float32))
            quantiles.append(np.full((future.horizon, len(task.quantiles)), np.nan, np.float32))
            continue
        known: Arrays = dict(calendar)
        if future.covariates is not None:
            known["covariates"] = future.covariates[index : index + 1]
        paths = await run_paths(engine, row, draws, known)
        said = await summarise(task, steps, None, paths, None, None)
        means.append(said.mean)
        quantiles.append(np.stack(list(said.quantiles.values()), axis=1))  # (P, Q)
    return Ahead(np.stack(means), np.stack(quantiles))


def _was_observed(model: Model, row: Rows) -> bool:
    try:
        needs_an_observation(model, row)
    except InputMismatch:
        return False
    return True
