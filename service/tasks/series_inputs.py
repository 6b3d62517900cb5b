"""From observations as clients send them to the arrays a forecaster's graphs take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.contract.calendar import calendar_features, calendar_of_moment
from service.contract.frequency import Frequency, format_timestamp
from service.contract.manifest import ForecastTask, GraphName
from service.errors import InputMismatch, RequestTooLarge
from service.models.model import Model

Values = NDArray[np.float32]
Timestamp = np.datetime64
Covariates = Mapping[str, Values]


def forecast_task(model: Model) -> ForecastTask:
    """The model's forecast section; a model for something else is refused."""
    if model.manifest.forecast is None:
        does = "classifies sequences" if model.manifest.classify else "generates text"
        raise InputMismatch(f"model {model.manifest.name} {does}: use a forecast model", parameter="model")
    return model.manifest.forecast


def history_graph(model: Model) -> GraphName:
    """The graph that takes in a history of which nothing is asked but what follows it.

    `prefill` where the model has it, which predicts none of the values; all that is told then has the same bits.
    """
    return "prefill" if "prefill" in model.graphs else "observe"


@dataclass(frozen=True)
class Placement:
    """Which step each sent value takes.

    Args:
        steps: how many steps there are, those filled as missing included.
        index: (T,) the step of each sent value.
        first_timestamp: of the session's first observation, if it is known by now.
    """

    steps: int
    index: NDArray[np.int64]
    first_timestamp: Timestamp | None

    def spread(self, values: Values) -> Values:
        """Values (T, …) on their steps (steps, …), NaN on the steps in between."""
        if self.steps == len(self.index):
            return values
        spread = np.full((self.steps, *values.shape[1:]), np.nan, np.float32)
        spread[self.index] = values
        return spread


def place(
    frequency: Frequency | None,
    position: int,
    first: Timestamp | None,
    count: int,
    timestamps: Sequence[Timestamp] | None,
    max_gap_steps: int,
) -> Placement:
    """Find the steps of `count` values that follow an observed `position`.

    Raises:
        InputMismatch: as many timestamps as values were not given, or one is too early or between two steps.
        RequestTooLarge: a gap is longer than may be filled.
    """
    if timestamps is None:
        return Placement(count, np.arange(count), first)
    if len(timestamps) != count:
        raise InputMismatch(
            f"timestamps: expected one for each of the {count} values, got {len(timestamps)}", parameter="timestamps"
        )
    if frequency is None:
        raise InputMismatch(
            "timestamps: the model counts steps and knows no time between them: open the session with a frequency, "
            "such as 1h, or leave timestamps out",
            parameter="timestamps",
        )
    if first is None:
        # The first timestamp ever told lies at the next step, whatever came before it.
        first = frequency.timestamps(timestamps[0], -position, 1)[0]
    try:
        numbers = frequency.steps_between(first, np.array(timestamps, "datetime64[s]")) - position
    except ValueError as error:
        raise InputMismatch(str(error), parameter="timestamps") from error
    gaps = np.diff(numbers, prepend=-1) - 1
    for gap, timestamp in zip(gaps.tolist(), timestamps, strict=True):
        if gap < 0:
            expected = format_timestamp(frequency.timestamps(first, position, 1)[0])
            raise InputMismatch(
                f"timestamps: expected them to increase, from {expected} on, got {format_timestamp(timestamp)}: "
                "what was observed cannot be changed; leave out what was sent before",
                parameter="timestamps",
            )
        if gap > max_gap_steps:
            raise RequestTooLarge(
                f"timestamps: expected a gap of at most {max_gap_steps} steps, got {gap} before "
                f"{format_timestamp(timestamp)}: open a new session, or send the missing values as null",
                parameter="timestamps",
            )
    return Placement(int(numbers[-1]) + 1, numbers, first)


def step_inputs(
    task: ForecastTask, start: int, steps: int, first: Timestamp | None, covariates: Covariates | None
) -> dict[str, NDArray[Any]]:
    """The calendar (1, steps, C) and covariates (1, steps, K) of the steps after position `start`, where there are any.

    Raises:
        InputMismatch: the calendar is needed and no timestamp known, or covariates are missing, unknown or misfit.
    """
    calendar = calendar_input(task, start, steps, first)
    return calendar | covariate_input(task, covariate_columns(task, steps, covariates))


def calendar_input(task: ForecastTask, start: int, steps: int, first: Timestamp | None) -> dict[str, NDArray[Any]]:
    """The calendar (1, steps, C) of the steps after position `start`, if the model looks at it.

    Raises:
        InputMismatch: it does, and no timestamp is known.
    """
    if not task.calendar:
        return {}
    if first is None:
        raise InputMismatch(
            "first_timestamp: the model looks at the calendar: give the first timestamp when the session is "
            "opened, or timestamps with the values",
            parameter="first_timestamp",
        )
    assert task.frequency is not None, "a model that looks at the calendar has a frequency"
    timestamps = Frequency.parse(task.frequency).timestamps(first, start, steps)
    if steps == 1:
        second = int(timestamps[0].astype(np.int64))
        return {"calendar": calendar_of_moment(second, task.calendar)[np.newaxis, np.newaxis]}
    return {"calendar": calendar_features(timestamps, task.calendar)[np.newaxis]}


def covariate_input(task: ForecastTask, columns: Values) -> dict[str, NDArray[Any]]:
    """Covariates (1, steps, K) from their columns, if the model takes any."""
    return {"covariates": columns[np.newaxis]} if task.future_covariates else {}


def covariate_columns(task: ForecastTask, steps: int, covariates: Covariates | None) -> Values:
    """Covariates by name as columns (steps, K) in the model's order.

    Raises:
        InputMismatch: one is missing, unknown, or not of `steps` values.
    """
    given = covariates or {}
    names = task.future_covariates
    if given.keys() != set(names):
        raise InputMismatch(
            f"future_covariates: expected {_listed(names)} for {steps} steps, got {_listed(sorted(given))}",
            parameter="future_covariates",
        )
    for name in names:
        if len(given[name]) != steps:
            raise InputMismatch(
                f"future_covariates.{name}: expected {steps} values, got {len(given[name])}",
                parameter="future_covariates",
            )
    columns = [given[name].astype(np.float32, copy=False) for name in names]
    return np.stack(columns, axis=1) if names else np.empty((steps, 0), np.float32)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
