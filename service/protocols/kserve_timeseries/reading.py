"""KServe's inputs as series: one for each input, or one for each variable of a multivariate one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.contract.manifest import ForecastTask
from service.errors import InputMismatch
from service.models.model import Model
from service.protocols import arrays
from service.protocols.kserve_timeseries.messages import MULTIVARIATE, UNIVARIATE, Number, SeriesInput
from service.protocols.series import Series
from service.sessions.frequency import frequency_of, require_frequency, told_frequency
from service.tasks.series_inputs import forecast_task

Column = NDArray[np.float32]
Columns = dict[str, Column]


@dataclass(frozen=True)
class Read:
    """One input, read.

    Args:
        series: the one series, or every variable of a multivariate input whose model knows one series at a time.
        type: how the forecast is answered.
    """

    given: SeriesInput
    model: Model
    series: list[Series]
    type: str


def read_input(model: Model, given: SeriesInput, horizon: int) -> Read:
    """One input as series.

    Raises:
        InputMismatch: it is not what this model takes; nothing was done.
    """
    task = forecast_task(model)
    _check(model, task, given)
    start = None if given.start_timestamp is None else arrays.timestamp(given.start_timestamp, "start_timestamp")

    def series(values: Column, covariates: Columns | None) -> Series:
        return Series(model, values, start, given.frequency, given.static_covariates, covariates)

    if given.type == UNIVARIATE:
        return Read(given, model, [series(_values(given), _future(task, given))], UNIVARIATE)
    columns = _variables(task, given)
    if task.future_covariates:
        covariates = _past_and_future(task, columns[1:], _future(task, given), horizon)
        return Read(given, model, [series(columns[0], covariates)], UNIVARIATE)
    return Read(given, model, [series(column, _future(task, given)) for column in columns], MULTIVARIATE)


def _check(model: Model, task: ForecastTask, given: SeriesInput) -> None:
    if given.type not in (UNIVARIATE, MULTIVARIATE):
        raise InputMismatch(f"type: expected {UNIVARIATE} or {MULTIVARIATE}, got {given.type[:60]!r}", parameter="type")
    told = told_frequency(model.manifest, given.frequency)
    if given.start_timestamp is not None and given.session_id is None:
        require_frequency(model.manifest, frequency_of(model.manifest, told), "start_timestamp")
    if task.calendar and given.start_timestamp is None and given.session_id is None:
        raise InputMismatch(
            f"start_timestamp: model {model.manifest.id} looks at the calendar: give the first value's time",
            parameter="start_timestamp",
        )
    for name in ("position", "durability", "anomaly_threshold"):
        if given.session_id is None and getattr(given, name) is not None:
            raise InputMismatch(f"{name}: expected only together with session_id", parameter=name)


def _values(given: SeriesInput) -> Column:
    """The values (T,) of a univariate series."""
    if any(isinstance(value, list) for value in given.series):
        raise InputMismatch(f"type: expected {MULTIVARIATE} with rows of values, got {UNIVARIATE}", parameter="type")
    return arrays.float_array([value for value in given.series if not isinstance(value, list)], "series")


def _variables(task: ForecastTask, given: SeriesInput) -> list[Column]:
    """The variables of a multivariate series, (T,) each: the value first, and then the covariates in their order.

    Raises:
        InputMismatch: rows of several lengths, or not of the model's; several variables for one session.
    """
    names = task.future_covariates
    rows = [row for row in given.series if isinstance(row, list)]
    if len(rows) < len(given.series):
        raise InputMismatch(f"series: expected a row of values for every step of a {MULTIVARIATE}", parameter="series")
    width = 1 + len(names) if names or not rows else len(rows[0])
    for index, row in enumerate(rows):
        if len(row) != width or not width:
            raise InputMismatch(
                f"series.{index}: expected {_row_words(task, width)}, got {len(row)}", parameter=f"series.{index}"
            )
    if given.session_id is not None and width > 1 and not names:
        raise InputMismatch(
            f"session_id: a session keeps one series, and these rows hold {width} variables: send each variable as an "
            "input of its own, with a session of its own",
            parameter="session_id",
        )
    return [arrays.float_array([row[variable] for row in rows], "series") for variable in range(width)]


def _row_words(task: ForecastTask, width: int) -> str:
    if task.future_covariates:
        return f"a row of {width} values (the series' own, {', '.join(task.future_covariates)})"
    return f"rows of one length, here {max(width, 1)}"


def _past_and_future(task: ForecastTask, past: list[Column], future: Columns | None, horizon: int) -> Columns:
    """The covariates of all T + P steps: those of T steps from the series' rows, P more from `future_covariates`."""
    names = task.future_covariates
    if future is None or future.keys() != set(names):
        got = "none" if future is None else ", ".join(sorted(future)) or "none"
        raise InputMismatch(
            f"future_covariates: expected {', '.join(names)} for the {horizon} steps of the horizon, got {got}",
            parameter="future_covariates",
        )
    for column in future.values():
        if len(column) != horizon:
            raise InputMismatch(
                f"future_covariates: expected {horizon} steps, those of the horizon alone, got {len(column)}: the "
                "series' own rows hold the covariates of its steps",
                parameter="future_covariates",
            )
    return {name: np.concatenate([column, future[name]]) for name, column in zip(names, past, strict=True)}


def _future(task: ForecastTask, given: SeriesInput) -> Columns | None:
    """Covariates by name, given so or in rows in the model's order."""
    covariates = given.future_covariates
    if covariates is None or isinstance(covariates, dict):
        return arrays.float_arrays(covariates, "future_covariates")
    names = task.future_covariates
    for index, row in enumerate(covariates):
        if len(row) != len(names):
            raise InputMismatch(
                f"future_covariates.{index}: expected a row of {len(names)} values ({', '.join(names) or 'none'}), "
                f"got {len(row)}",
                parameter=f"future_covariates.{index}",
            )
    columns: list[list[Number]] = [[row[number] for row in covariates] for number in range(len(names))]
    return arrays.float_arrays(dict(zip(names, columns, strict=True)), "future_covariates")
