"""From the rows of a file to series on one time axis: gaps become NaN, mistakes in order or spacing are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from service.contract.frequency import Frequency
from service.contract.manifest import StaticCovariate, sha256_of
from training.data.series import Array, SeriesFormat, SeriesSet
from training.data.series_file import ID, ROW, TARGET, TIME, SeriesTable, read_table
from training.errors import TrainingError

# A file may leave out many more steps than it holds, but not so many that its frequency must be wrong.
MOST_STEPS_PER_ROW = 100
ALWAYS_ALLOWED_STEPS = 100_000


def load_series(path: Path, frequency: Frequency, form: SeriesFormat | None = None) -> SeriesSet:
    """Read all series of a CSV or Parquet file and place them on a common time axis.

    Args:
        frequency: of the observations; a time column of integers counts steps of it.
        form: names of the columns and layout; `unique_id, ds, y` without.

    Raises:
        TrainingError: unreadable, a column absent, a value or time that does not fit, two values at one time.
    """
    form = form or SeriesFormat()
    try:
        digest = sha256_of(path)
    except OSError as error:
        raise TrainingError(f"data {path.name}: expected a CSV or Parquet file: {error.strerror}") from error
    table = read_table(path, form)
    frame = table.frame.with_columns(pl.col(*form.covariates).cast(pl.Float32)) if form.covariates else table.frame
    frame = _keep(frame, form.series, table, path)
    first, steps = _place(frame, table, frequency, path)
    frame = frame.with_columns(pl.Series(TIME, steps))
    _refuse_repeats(frame, table, path)
    ids = form.series or tuple(frame[ID].unique(maintain_order=True).to_list())
    number = {name: index for index, name in enumerate(ids)}
    rows = frame[ID].replace_strict(list(number), list(number.values()), return_dtype=pl.Int64).to_numpy()
    target = _grid(rows, steps, frame[TARGET], len(ids), path)
    _refuse_empty(target, ids, path)
    length = target.shape[1]
    covariates = [_grid(rows, steps, frame[name], len(ids), path)[:, :length] for name in form.covariates]
    kinds, static = _static(frame, form.static, ids, table, path)
    observed = np.flatnonzero(~np.isnan(target).all(axis=0))[-1] + 1
    return SeriesSet(
        name=path.name,
        sha256=digest,
        ids=ids,
        frequency=frequency,
        first=first,
        target=target[:, :observed],
        covariate_names=form.covariates,
        covariates=np.stack(covariates, -1)[:, :observed] if covariates else None,
        static_covariates=kinds,
        static=static,
    )


def _keep(frame: pl.DataFrame, ids: tuple[str, ...], table: SeriesTable, path: Path) -> pl.DataFrame:
    known = frame[ID].unique(maintain_order=True).to_list()
    if None in known:
        row = frame.filter(pl.col(ID).is_null())[ROW][0]
        raise TrainingError(f"{path.name}, {table.row_word} {row}: id: expected one, got nothing")
    for name in ids:
        if name not in known:
            shown = ", ".join(known[:8]) + (", …" if len(known) > 8 else "")
            raise TrainingError(f"series {name!r}: expected one of {shown}")
    return frame.filter(pl.col(ID).is_in(list(ids))) if ids else frame


def _place(
    frame: pl.DataFrame, table: SeriesTable, frequency: Frequency, path: Path
) -> tuple[np.datetime64 | None, NDArray[np.int64]]:
    """Timestamp of step 0 (None if the file counts steps), and the step of each row."""
    if frame.is_empty():
        raise TrainingError(f"data {path.name}: expected rows below the header, got none")
    times = frame[TIME].to_numpy()
    if table.counts_steps:
        first, steps = None, (times - times.min()).astype(np.int64)
    else:
        moments, inverse = np.unique(times.astype("datetime64[s]"), return_inverse=True)
        first = moments[0]
        try:
            steps = frequency.steps_between(first, moments)[inverse]
        except ValueError as error:
            wrong = next(m for m in moments if not _on_grid(frequency, first, m))
            row = frame[ROW][int(np.flatnonzero(times.astype("datetime64[s]") == wrong)[0])]
            raise TrainingError(f"{path.name}, {table.row_word} {row}: {error}; is --frequency right?") from error
    length = int(steps.max()) + 1
    if length > max(ALWAYS_ALLOWED_STEPS, MOST_STEPS_PER_ROW * frame.height):
        hint = "a --date-format, if these are dates" if table.counts_steps else f"--frequency {frequency}, is it right?"
        raise TrainingError(
            f"data {path.name}: expected at most {MOST_STEPS_PER_ROW} steps of time per row, got {length} steps"
            f" for {frame.height} rows; look at {hint}"
        )
    return first, steps


def _on_grid(frequency: Frequency, first: np.datetime64, moment: np.datetime64) -> bool:
    try:
        frequency.steps_between(first, np.array([moment]))
    except ValueError:
        return False
    return True


def _refuse_repeats(frame: pl.DataFrame, table: SeriesTable, path: Path) -> None:
    repeated = frame.filter(~pl.struct(ID, TIME).is_first_distinct())
    if not repeated.is_empty():
        row, name = repeated[ROW][0], repeated[ID][0]
        raise TrainingError(
            f"{path.name}, {table.row_word} {row}: expected one value per series and time,"
            f" got a second one of series {name!r}"
        )


def _refuse_empty(target: Array, ids: tuple[str, ...], path: Path) -> None:
    empty = np.flatnonzero(np.isnan(target).all(axis=1))
    if len(empty):
        raise TrainingError(f"data {path.name}: series {ids[empty[0]]!r}: expected values, got none")


def _grid(rows: NDArray[np.int64], steps: NDArray[np.int64], values: pl.Series, count: int, path: Path) -> Array:
    """(N, T) with each value at its series and step, NaN elsewhere."""
    grid = np.full((count, int(steps.max()) + 1), np.nan, np.float32)
    with np.errstate(over="ignore"):
        grid[rows, steps] = values.cast(pl.Float64).to_numpy().astype(np.float32)
    if np.isinf(grid).any():
        largest = np.finfo(np.float32).max
        raise TrainingError(f"data {path.name}: expected values up to {largest:.1e}; use a larger unit")
    return grid


def _static(
    frame: pl.DataFrame, names: tuple[str, ...], ids: tuple[str, ...], table: SeriesTable, path: Path
) -> tuple[tuple[StaticCovariate, ...], Array | None]:
    """What each static covariate is, and (N, D) numbers or category indices; a missing number is NaN."""
    if not names:
        return (), None
    kinds, columns = [], []
    for name in names:
        known = frame.drop_nulls(name)
        counts = known.group_by(ID).agg(pl.col(name).n_unique())
        changing = counts.filter(pl.col(name) > 1)
        if not changing.is_empty():
            raise TrainingError(
                f"static {name}: expected one value per series, got several for {changing[ID][0]!r};"
                " one that changes and is known in advance belongs to --covariates"
            )
        by_id = dict(zip(known[ID].to_list(), known[name].to_list(), strict=True))
        kind, column = _encode(name, [by_id.get(one) for one in ids])
        kinds.append(kind)
        columns.append(column)
    return tuple(kinds), np.stack(columns, -1)


def _encode(name: str, values: list[str | None]) -> tuple[StaticCovariate, Array]:
    try:
        numbers = [float("nan") if value is None else float(value) for value in values]
    except ValueError:
        categories = tuple(sorted({value for value in values if value is not None}))
        indices = [-1 if value is None else categories.index(value) for value in values]
        return StaticCovariate(name=name, categories=categories), np.array(indices, np.float32)
    return StaticCovariate(name=name), np.array(numbers, np.float32)
