"""Series of any file as they stand in it, for a model that counts steps: no time is read, no frequency needed.

A file is taken for a long one where it has columns of ids and values, for rows of series where it has more columns than
lines, and otherwise for one with a series in every column but the first that holds many different numbers.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from service.contract.manifest import sha256_of
from training.data.series import SeriesFormat
from training.data.series_file import MISSING
from training.errors import TrainingError

FEWEST_DIFFERENT = 40
"""Columns of fewer different numbers are taken for labels, or for parts of a date."""
LEAST_LENGTH = 100

Series = NDArray[np.float32]


def read_files(paths: list[Path]) -> dict[str, Series]:
    """The series of all files, by file and name.

    Raises:
        TrainingError: not readable, or no series in it.
    """
    found: dict[str, Series] = {}
    for path in paths:
        series = series_of_file(path)
        if not series:
            raise TrainingError(f"data {path.name}: expected series of at least {LEAST_LENGTH} numbers, found none")
        found |= {f"{path.name}: {name}": values for name, values in series.items()}
    return found


def series_of_file(path: Path, form: SeriesFormat | None = None) -> dict[str, Series]:
    """The series of one CSV file by name, each from its first value to its last."""
    form = form or SeriesFormat()
    try:
        frame = pl.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise TrainingError(f"data {path.name}: expected a CSV file with a header: {error}") from error
    if {form.id_column, form.target_column} <= {*frame.columns}:
        parts = {
            str(name): part[form.target_column] for (name,), part in frame.group_by(form.id_column, maintain_order=True)
        }
    elif frame.width > frame.height:
        parts = {str(name): pl.Series(values) for name, *values in frame.iter_rows()}
    else:
        columns = frame.columns if frame.width == 1 else frame.columns[1:]
        parts = {name: frame[name] for name in columns}
    numbers = {name: _numbers(part) for name, part in parts.items()}
    return {name: values for name, values in numbers.items() if _is_series(values)}


def fingerprint(paths: list[Path]) -> tuple[str, str]:
    """Names of the files, and one digest of all their digests."""
    digests = "".join(sha256_of(path) for path in paths)
    return ", ".join(path.name for path in paths), hashlib.sha256(digests.encode()).hexdigest()


def _numbers(column: pl.Series) -> Series:
    """The numbers of a column of texts, NaN for others, without the missing ones at both ends."""
    texts = column.cast(pl.String).str.strip_chars().replace(MISSING, [None] * len(MISSING))
    values = texts.cast(pl.Float64, strict=False).to_numpy().astype(np.float32)
    there = np.flatnonzero(np.isfinite(values))
    return values[there[0] : there[-1] + 1] if len(there) else values[:0]


def _is_series(values: Series) -> bool:
    there = values[np.isfinite(values)]
    return len(there) >= LEAST_LENGTH and len(np.unique(there)) >= FEWEST_DIFFERENT
