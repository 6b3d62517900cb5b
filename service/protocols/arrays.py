"""Wire values to arrays and back: numbers with nulls, timestamps, quantiles row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from service.contract.frequency import format_timestamp, parse_timestamp
from service.errors import InputMismatch

Values = Sequence[float | None]
LARGEST = 1e36
"""Beyond it float32 has no room for what a network computes with a value, and one would spoil a session for good."""
BoundedNumber = Annotated[float, msgspec.Meta(ge=-LARGEST, le=LARGEST)] | None
"""A number within that bound, or null where one is missing: checked while a message is decoded."""


def float_array(values: Values, parameter: str) -> NDArray[np.float32]:
    """Values (T,) in float32, NaN where null.

    Raises:
        InputMismatch: a number too large to compute with in float32.
    """
    wide = np.array(values, dtype=np.float64)  # null becomes NaN
    beyond = np.abs(wide) > LARGEST
    if beyond.any():
        index = int(np.argmax(beyond))
        raise InputMismatch(
            f"{parameter}.{index}: expected a number of at most {LARGEST:g} in size (float32), got {wide[index]:g}",
            parameter=f"{parameter}.{index}",
        )
    return wide.astype(np.float32)


def float_arrays(columns: Mapping[str, Values] | None, parameter: str) -> dict[str, NDArray[np.float32]] | None:
    """One array for each named column."""
    if columns is None:
        return None
    return {name: float_array(values, f"{parameter}.{name}") for name, values in columns.items()}


def timestamp(text: str, parameter: str) -> np.datetime64:
    """A timestamp in UTC, to the second.

    Raises:
        InputMismatch: not ISO 8601.
    """
    try:
        return parse_timestamp(text)
    except (ValueError, OverflowError) as error:
        reason = str(error).removeprefix("timestamp: ")
        raise InputMismatch(f"{parameter}: {reason}", parameter=parameter) from None


def timestamps(texts: Sequence[str], parameter: str) -> list[np.datetime64]:
    """Timestamps in UTC, one for each text."""
    return [timestamp(text, f"{parameter}.{index}") for index, text in enumerate(texts)]


def texts(moments: Sequence[np.datetime64] | NDArray[np.datetime64] | None) -> list[str] | None:
    """ISO 8601 for each timestamp."""
    return None if moments is None else [format_timestamp(moment) for moment in moments]


def rows_or_null(quantiles: NDArray[np.float32]) -> list[Any]:
    """Quantiles (T, Q) as a list for each step, null where nothing was predicted."""
    rows: list[Any] = quantiles.tolist()
    for index in np.flatnonzero(np.isnan(quantiles).any(axis=1)).tolist():
        rows[index] = None
    return rows
