"""Time series on one common time axis: what was loaded, and the views that training and evaluation need.

`training.data.series_file` reads the rows, `load_series` places them here. A step without a row, and a row without
a value, are both NaN. Shapes: N series, T steps, K covariates, C calendar features, D static covariates.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.contract.calendar import calendar_features
from service.contract.frequency import Frequency, Timestamps
from service.contract.manifest import StaticCovariate
from training.errors import TrainingError

Array = NDArray[np.float32]


@dataclass(frozen=True)
class SeriesSet:
    """N series on a common axis of T steps, which ends with the last observed value of any of them."""

    name: str
    """Of the file, without its folder."""
    sha256: str
    """Of the file's bytes."""
    ids: tuple[str, ...]
    frequency: Frequency
    first: np.datetime64 | None
    """UTC timestamp of step 0; None where the file counts steps instead."""
    target: Array
    """(N, T), NaN where missing."""
    covariate_names: tuple[str, ...] = ()
    covariates: Array | None = None
    """(N, T, K), known in advance; NaN where missing."""
    static_covariates: tuple[StaticCovariate, ...] = ()
    static: Array | None = None
    """(N, D): a number, or the index of the category."""

    @property
    def length(self) -> int:
        """T."""
        return int(self.target.shape[1])

    @cached_property
    def begins(self) -> NDArray[np.int64]:
        """(N,) step of each series' first observed value."""
        return np.asarray(np.argmax(~np.isnan(self.target), axis=1), np.int64)

    @cached_property
    def ends(self) -> NDArray[np.int64]:
        """(N,) step after each series' last observed value."""
        return np.asarray(self.length - np.argmax(~np.isnan(self.target[:, ::-1]), axis=1), np.int64)

    @cached_property
    def timestamps(self) -> Timestamps | None:
        """(T,) UTC timestamps, or None where the file counts steps."""
        return None if self.first is None else self.frequency.timestamps(self.first, 0, self.length)

    def calendar(self, names: tuple[str, ...], ahead: int = 0) -> Array | None:
        """(T + ahead, C) of the named calendar features; None when there are no names.

        Raises:
            TrainingError: the file counts steps, so that there is no calendar.
        """
        if not names:
            return None
        if self.first is None:
            raise TrainingError(
                f"calendar features {', '.join(names)}: expected timestamps in {self.name}, got numbered steps;"
                " leave the features out or give the column dates"
            )
        return calendar_features(self.frequency.timestamps(self.first, 0, self.length + ahead), names)


def parse_steps(text: str, frequency: Frequency) -> int:
    """Steps in a length of time: "672" are steps as they stand, "4W" or "28D" is divided by the frequency."""
    if re.fullmatch(r"\d+", text.strip()):
        return int(text)
    try:
        length = Frequency.parse(text)
    except ValueError as error:
        raise TrainingError(f"length: expected steps or a time such as 672, 4W or 28D, got {text!r}") from error
    origin = np.datetime64("2000-01-01", "s")  # a time at which every unit begins
    end = length.timestamps(origin, 1, 1)
    try:
        return int(frequency.steps_between(origin, end)[0])
    except ValueError as error:
        raise TrainingError(f"length {text!r}: expected a whole number of steps of {frequency}") from error


Layout = Literal["auto", "long", "wide", "rows"]


@dataclass(frozen=True)
class SeriesFormat:
    """Where a file keeps what: the names of its columns and how it writes time.

    `long` has a row per series and time; `wide` a row per time and a column per series; `rows`, as the M4 competition
    has it, a row per series, its id first; `auto` looks at the header for one of the first two.
    """

    id_column: str = "unique_id"
    time_column: str = "ds"
    target_column: str = "y"
    layout: Layout = "auto"
    date_format: str | None = None
    covariates: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    series: tuple[str, ...] = ()
    """Ids to keep, in this order; all, as they come, when empty."""
