"""Scored streams as one table, a row for each value, written as CSV or Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from training.data.series import Array, SeriesFormat
from training.scoring.scored import Scored


def scored_table(scored: Sequence[Scored], form: SeriesFormat) -> pl.DataFrame:
    """Id, time and value under the names they had, and what the model said; null where a value or a word is missing."""
    return pl.concat([_rows(one, form) for one in scored])


def write_table(table: pl.DataFrame, path: Path) -> None:
    """Write a table in the format that the file's name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        table.write_parquet(path)
    else:
        table.write_csv(path, datetime_format="%Y-%m-%dT%H:%M:%SZ")


def _rows(one: Scored, form: SeriesFormat) -> pl.DataFrame:
    times = one.stream.times
    columns = {
        form.id_column: pl.Series([one.stream.id] * len(times)),
        form.time_column: pl.Series(times.astype("datetime64[ms]") if times.dtype.kind == "M" else times),
        form.target_column: _numbers(one.stream.values),
        "expected": _numbers(one.expected),
        "lower": _numbers(one.lower),
        "upper": _numbers(one.upper),
        "anomaly_score": _numbers(one.score),
    }
    if one.anomaly is not None:
        columns["anomaly"] = pl.Series(np.asarray(one.anomaly, bool))
    return pl.DataFrame(columns)


def _numbers(values: Array) -> pl.Series:
    return pl.Series(values).fill_nan(None)
