"""Reads a CSV or Parquet file of series into one table with a row per series and time.

Accepts the long layout of forecasting libraries (`unique_id, ds, y`), a file of a single series, the wide layout with
a date column, and rows of values without times. Every mistake names the file's line, what was expected and what came.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl

from service.contract.frequency import parse_timestamp
from training.data.series import SeriesFormat
from training.errors import TrainingError

MISSING = ["", "NA", "N/A", "NaN", "nan", "null", "None"]
ROW, ID, TIME, TARGET = "__row", "__id", "__time", "__target"


@dataclass(frozen=True)
class SeriesTable:
    """Rows of all series; time is in seconds since 1970 (UTC), or, when `counts_steps`, in steps."""

    frame: pl.DataFrame
    """Columns ROW (as an editor numbers it), ID, TIME, TARGET (Float64), covariates (Float64), static (text)."""
    counts_steps: bool
    row_word: str
    """What ROW counts: "line" of a CSV file, "row" of a Parquet file."""


def column_names(path: Path) -> list[str]:
    """The columns of a file.

    Raises:
        TrainingError: not readable.
    """
    return (_read_parquet(path) if _is_parquet(path) else _read_csv(path)).columns


def read_table(path: Path, form: SeriesFormat) -> SeriesTable:
    """Rows of a file, typed and checked one by one, not yet placed in time.

    Raises:
        TrainingError: not readable, a column is absent, or a value is not what its column holds.
    """
    is_parquet = _is_parquet(path)
    frame = _read_parquet(path) if is_parquet else _read_csv(path)
    frame = frame.with_row_index(ROW, offset=0 if is_parquet else 2)
    word = "row" if is_parquet else "line"
    columns = frame.columns[1:]
    frame = _as_long(frame, form, path)
    where = f"{path.name}, {word}"
    try:
        times, counts_steps = _parse_times(frame, form, where)
    except TrainingError as error:
        raise TrainingError(f"{error}{_hint_at_layout(columns, form)}") from error
    numbers = [_parse_numbers(frame, name, where) for name in (TARGET, *form.covariates)]
    texts = [pl.col(name).cast(pl.String).str.strip_chars().replace(MISSING, None) for name in form.static]
    frame = frame.select(ROW, pl.col(ID).cast(pl.String), times, *numbers, *texts)
    return SeriesTable(frame, counts_steps, word)


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() in (".parquet", ".pq")


def _read_csv(path: Path) -> pl.DataFrame:
    try:
        # All columns as text: so a value that does not fit can be shown, with its line.
        return pl.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise TrainingError(f"data {path.name}: expected a CSV file with a header: {error}") from error


def _read_parquet(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise TrainingError(f"data {path.name}: expected a Parquet file: {error}") from error


def _as_long(frame: pl.DataFrame, form: SeriesFormat, path: Path) -> pl.DataFrame:
    """The table with columns ID, TIME and TARGET, whichever layout it came in."""
    columns = [name for name in frame.columns if name != ROW]
    carried = [*form.covariates, *form.static]
    layout = form.layout
    if layout == "auto":
        layout = "long" if _looks_long(columns, form) else "wide"
    if layout == "rows":
        return _number_values(frame, form, columns, path)
    if layout == "wide":
        return _unpivot(frame, form, columns, path)
    _require_columns(columns, [form.time_column, form.target_column, *carried], path)
    id_column = pl.col(form.id_column) if form.id_column in columns else pl.lit(path.stem)
    renamed = id_column.alias(ID), pl.col(form.time_column).alias(TIME), pl.col(form.target_column).alias(TARGET)
    return frame.select(ROW, *renamed, *carried)


def _looks_long(columns: Sequence[str], form: SeriesFormat) -> bool:
    return form.id_column in columns or {form.time_column, form.target_column} <= {*columns}


def _hint_at_layout(columns: Sequence[str], form: SeriesFormat) -> str:
    """What to do where a file was taken for a wide one with times in its first column, and they are not times."""
    if form.layout != "auto" or _looks_long(columns, form) or form.time_column in columns:
        return ""
    return (
        f"; without columns {form.id_column}, {form.time_column} and {form.target_column} the first column,"
        f" {columns[0]!r}, was read as time: name yours with --id-column, --time-column and --target-column"
    )


def _unpivot(frame: pl.DataFrame, form: SeriesFormat, columns: list[str], path: Path) -> pl.DataFrame:
    """One row per time and column; the date column is the named one, or, where that is absent, the first."""
    if form.static:
        raise TrainingError(f"static {form.static[0]}: expected the long layout, a wide file has no place for it")
    time = form.time_column if form.time_column in columns else columns[0]
    values = list(form.series) or [name for name in columns if name != time and name not in form.covariates]
    _require_columns(columns, [*values, *form.covariates], path)
    if not values:
        raise TrainingError(f"data {path.name}: expected a date column and one column per series, got {columns}")
    long = frame.unpivot(values, index=[ROW, time, *form.covariates], variable_name=ID, value_name=TARGET)
    return long.rename({time: TIME})


def _number_values(frame: pl.DataFrame, form: SeriesFormat, columns: list[str], path: Path) -> pl.DataFrame:
    """One row per series and value, TIME the value's number in its row; the id stands first."""
    name, *values = columns
    if carried := (*form.covariates, *form.static):
        raise TrainingError(f"{carried[0]}: expected the long layout, a file of rows has no place for it")
    if not values:
        raise TrainingError(f"data {path.name}: expected an id and one column per step, got {columns}")
    long = frame.unpivot(values, index=[ROW, name], variable_name=TIME, value_name=TARGET)
    step = pl.col(TIME).replace_strict(values, list(range(len(values))), return_dtype=pl.Int64)
    return long.select(ROW, pl.col(name).alias(ID), step, TARGET)


def _require_columns(columns: Sequence[str], wanted: Sequence[str], path: Path) -> None:
    for name in wanted:
        if name not in columns:
            raise TrainingError(f"data {path.name}: expected a column {name!r}, got the columns {', '.join(columns)}")


def _parse_numbers(frame: pl.DataFrame, name: str, where: str) -> pl.Series:
    column = frame[name]
    if column.dtype == pl.String:
        column = column.str.strip_chars().replace(MISSING, [None] * len(MISSING))
    numbers = column.cast(pl.Float64, strict=False).fill_nan(None)
    wrong = (numbers.is_null() & column.is_not_null() & ~_is_nan(column)) | numbers.is_infinite().fill_null(False)
    if wrong.any():
        index = int(wrong.arg_max() or 0)
        shown = "y" if name == TARGET else name
        raise TrainingError(f"{where} {frame[ROW][index]}: {shown}: expected a number, got {column[index]!r}")
    return numbers.alias(name)


def _is_nan(column: pl.Series) -> pl.Series:
    return column.is_nan().fill_null(False) if column.dtype.is_float() else pl.repeat(False, len(column), eager=True)


def _parse_times(frame: pl.DataFrame, form: SeriesFormat, where: str) -> tuple[pl.Series, bool]:
    """The TIME column as integers, and whether they are steps rather than seconds."""
    column = frame[TIME]
    if column.null_count():
        row = frame[ROW][int(column.is_null().arg_max() or 0)]
        raise TrainingError(f"{where} {row}: time: expected one, got nothing")
    if column.dtype == pl.Datetime:
        return column.dt.epoch("s").alias(TIME), False
    if column.dtype == pl.Date:
        return column.dt.epoch("s").alias(TIME), False
    if column.dtype.is_integer() and form.date_format is None:
        return column.cast(pl.Int64).alias(TIME), True
    texts = column.cast(pl.String).str.strip_chars()
    if form.date_format is None and texts.str.contains(r"^[+-]?\d+$").all():
        return texts.cast(pl.Int64).alias(TIME), True
    return _parse_moments(texts, frame[ROW], form.date_format, where), False


def _parse_moments(texts: pl.Series, rows: pl.Series, date_format: str | None, where: str) -> pl.Series:
    distinct = texts.unique(maintain_order=True)
    seconds = np.empty(len(distinct), np.int64)
    for index, text in enumerate(distinct):
        try:
            seconds[index] = _parse_moment(text, date_format).astype("datetime64[s]").astype(np.int64)
        except ValueError as error:
            line = rows[int((texts == text).arg_max() or 0)]
            expected = f"the format {date_format}" if date_format else "ISO 8601, or a --date-format that fits"
            raise TrainingError(f"{where} {line}: time: expected {expected}, got {text!r}") from error
    return texts.replace_strict(distinct, pl.Series(seconds), return_dtype=pl.Int64).alias(TIME)


def _parse_moment(text: str, date_format: str | None) -> np.datetime64:
    if date_format is not None:
        text = datetime.strptime(text, date_format).isoformat()
    elif re.fullmatch(r"\d{4}-\d{2}", text):
        text += "-01"
    return parse_timestamp(text)
