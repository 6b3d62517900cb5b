"""Many sequences in one request, each a row that starts from the initial state, without any session."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.contract.frequency import Frequency
from service.contract.manifest import GraphName
from service.engine.engine import Engine
from service.engine.job import Job
from service.engine.state_table import Rows
from service.errors import InputMismatch
from service.models.model import Model
from service.sessions.frequency import frequency_of, require_frequency, told_frequency
from service.sessions.service import Service
from service.sessions.static import StaticValues, initial_row
from service.tasks.classify import check_ids
from service.tasks.direct import answers_directly, direct_quantiles
from service.tasks.distributions import Forecast
from service.tasks.forecast_request import ForecastRequest
from service.tasks.limits import DEFAULT_LIMITS, TaskLimits, check_count
from service.tasks.looking_ahead import Standpoint, cost_of, draws_for, forecast_of, look_ahead, outlook_directly
from service.tasks.sample_paths import needs_an_observation
from service.tasks.series_inputs import Timestamp, Values, calendar_input, forecast_task, history_graph
from service.tasks.text import text_task

Arrays = dict[str, NDArray[Any]]

_ROWS_OF_A_JOB = 64
"""So that a wide request does not become one long run."""


@dataclass(frozen=True)
class Future:
    """What to tell of the time ahead, and its known covariates (B, P, K), for models that take any."""

    asked: ForecastRequest
    covariates: Values | None = None


@dataclass(frozen=True)
class _When:
    """Where all rows stand in time."""

    position: int
    first: Timestamp | None
    frequency: Frequency | None

    def standpoint(self, row: Rows) -> Standpoint:
        return Standpoint(row, self.position, self.first, self.frequency)


async def observe_series(
    service: Service,
    model: Model,
    inputs: Arrays,
    *,
    start: Timestamp | None = None,
    frequency: str | None = None,
    static: StaticValues | None = None,
    future: Future | None = None,
    observed: bool = True,
    limits: TaskLimits = DEFAULT_LIMITS,
) -> tuple[Arrays, list[Forecast | None]]:
    """What a forecaster says of whole series: its outputs (B, T, …) for every value, and what comes after each.

    A future gives a forecast for every row, None after one without any value; no future, no forecasts.

    Args:
        inputs: target (B, T), NaN where missing, and covariates (B, T, K) where the model takes them.
        start: timestamp of every series' first value, for models that look at the calendar.
        frequency: time between the values, where the model only counts them.
        observed: whether anything is asked of the values themselves; else there may be no outputs of them.

    Raises:
        InputMismatch, RequestTooLarge, Overloaded, StepFailed
    """
    task = model.manifest.forecast
    assert task is not None
    rows, steps = inputs["target"].shape
    _check_size(rows, steps, limits)
    told = told_frequency(model.manifest, frequency)
    at = _When(steps, start, frequency_of(model.manifest, told))
    if start is not None:
        require_frequency(model.manifest, at.frequency, "first_timestamp")
    graph: GraphName = "observe" if observed else history_graph(model)
    costs: dict[GraphName, int] = {graph: rows * steps}
    if future is not None:
        future.asked.check(limits)
        costs |= {graph: rows * cost for graph, cost in cost_of(model, future.asked).items()}
    calendar = _for_all(rows, calendar_input(task, 0, steps, start))
    with service.engines.using(model) as engine:
        with engine.room_for(costs):
            outputs, after = await _run(engine, graph, rows, steps, inputs | calendar, initial_row(model, static, told))
        return outputs, [] if future is None else await _ahead(engine, after, future, at)


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
        outputs, _ = await _run(engine, "observe", rows, steps, {"tokens": tokens}, initial_row(model, None))
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


async def _run(
    engine: Engine, graph: GraphName, rows: int, steps: int, inputs: Arrays, initial: Rows
) -> tuple[Arrays, Rows]:
    """What all rows give in a graph, and the rows (B, S) after it; several jobs where they are many."""
    jobs = []
    for first in range(0, rows, _ROWS_OF_A_JOB):
        part = {name: array[first : first + _ROWS_OF_A_JOB] for name, array in inputs.items()}
        width = min(_ROWS_OF_A_JOB, rows - first)
        jobs.append(Job(graph, steps, part, rows=np.tile(initial, (width, 1))))
    results = await asyncio.gather(*engine.submit_all(jobs))
    parts = [result.outputs for result in results]
    outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return outputs, np.concatenate([result.rows for result in results])


async def _ahead(engine: Engine, rows: Rows, future: Future, at: _When) -> list[Forecast | None]:
    """What comes after each row, None after no value at all."""
    model, asked = engine.model, future.asked
    task = forecast_task(model)
    draws = await draws_for(model, asked, 0, at.position)
    if not answers_directly(model, asked.horizon):
        calendar = calendar_input(task, at.position, asked.horizon, at.first)
        # One by one, since each is a batch of paths already.
        return [await _from_row(engine, row, index, calendar, draws, future, at) for index, row in enumerate(rows)]
    calendar = calendar_input(task, at.position, task.prediction_length, at.first)
    told: list[Forecast | None] = []
    for row, quantiles in zip(rows, await direct_quantiles(engine, rows, calendar), strict=True):
        outlook = None if np.isnan(quantiles).all() else await outlook_directly(model, quantiles, draws, asked)
        told.append(None if outlook is None else forecast_of(at.standpoint(row), asked, "direct", outlook))
    return told


async def _from_row(
    engine: Engine, row: Rows, index: int, calendar: Arrays, draws: Values | None, future: Future, at: _When
) -> Forecast | None:
    if not _was_observed(engine.model, row):
        return None
    known: Arrays = dict(calendar)
    if future.covariates is not None:
        known["covariates"] = future.covariates[index : index + 1]
    return await look_ahead(engine, at.standpoint(row), future.asked, draws, known)


def _was_observed(model: Model, row: Rows) -> bool:
    try:
        needs_an_observation(model, row)
    except InputMismatch:
        return False
    return True
