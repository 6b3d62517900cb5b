"""Files of series as streams to score: each with its own time, from its first value to its last.

A model of a frequency, or one that is told it, has the rows placed in time, so that gaps become missing steps. A model
that counts steps takes the rows as they stand in the file. Shapes: T steps, C calendar features, K covariates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from service.contract.frequency import Frequency
from service.contract.manifest import ForecastTask
from training.data.load_series import load_series
from training.data.series import Array, SeriesFormat, SeriesSet
from training.data.series_file import ID, TARGET, TIME, column_names, read_table
from training.data.static import static_as_trained
from training.errors import TrainingError

_SEASON = "season"
"""A static covariate of models that count steps, which need not be told; sessions that know their frequency tell it."""


@dataclass(frozen=True)
class Stream:
    """One series as a session would be sent it."""

    id: str
    times: NDArray[Any]
    """(T,) timestamps, or numbers of steps."""
    values: Array
    """(T,), NaN where missing."""
    calendar: Array | None = None
    """(T, C)"""
    covariates: Array | None = None
    """(T, K)"""
    static: Array | None = None
    """(D,)"""


def read_streams(path: Path, task: ForecastTask, form: SeriesFormat, frequency: Frequency | None) -> list[Stream]:
    """The series of a file, in its order.

    Args:
        form: static columns are those of the model that the file has; another is unknown.
        frequency: of the observations; None takes them as they come, for a model that counts steps.

    Raises:
        TrainingError: unreadable, or something in it is not what the model takes.
    """
    if frequency is None:
        return list(_as_they_come(path, task, form))
    columns = column_names(path)
    there = tuple(covariate.name for covariate in task.static_covariates if covariate.name in columns)
    series = load_series(path, frequency, replace(form, static=there))
    static = static_as_trained(series, task.static_covariates)
    if static is not None and task.frequency is None:
        _tell_season(static, [covariate.name for covariate in task.static_covariates], frequency)
    return list(_placed(series, task, static))


def _tell_season(static: Array, names: Sequence[str], frequency: Frequency) -> None:
    """Fill in the season that is usual for the frequency, where a model may be told one and the file does not."""
    if _SEASON in names:
        column = static[:, names.index(_SEASON)]
        column[np.isnan(column)] = frequency.seasonality


def _placed(series: SeriesSet, task: ForecastTask, static: Array | None) -> Iterator[Stream]:
    calendar = series.calendar(task.calendar)
    times = np.arange(series.length) if series.timestamps is None else series.timestamps
    for index, name in enumerate(series.ids):
        part = slice(int(series.begins[index]), int(series.ends[index]))
        yield Stream(
            name,
            times[part],
            series.target[index, part],
            None if calendar is None else calendar[part],
            None if series.covariates is None else series.covariates[index, part],
            None if static is None else static[index],
        )


def _as_they_come(path: Path, task: ForecastTask, form: SeriesFormat) -> Iterator[Stream]:
    if task.future_covariates:
        raise TrainingError("frequency: expected one for a model with covariates; give --frequency")
    table = read_table(path, form)
    unknown = np.array([np.nan if one.categories is None else -1 for one in task.static_covariates], np.float32)
    for (name,), rows in table.frame.group_by([ID], maintain_order=True):
        if form.series and name not in form.series:
            continue
        values = rows[TARGET].cast(pl.Float32).to_numpy().copy()
        if not np.isfinite(values).any():
            raise TrainingError(f"data {path.name}: series {name!r}: expected values, got none")
        times = rows[TIME].to_numpy()
        moments = times if table.counts_steps else times.astype("datetime64[s]")
        yield Stream(str(name), moments, values, static=unknown if len(unknown) else None)
