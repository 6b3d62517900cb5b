"""Series moved so that all end together, and their last stretches held out: the axis of training and evaluation.

    series 0            ├──────── train ────────┤ validation ├─── test ───┤
    series 1  ├──────────────── train ──────────┤ validation ├─── test ───┤
    step      0                                 v            t            T

Shapes: N series, T steps, K covariates, C calendar features, D static covariates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.data.series import Array, SeriesSet, parse_steps
from training.errors import TrainingError

Steps = NDArray[np.int64]


@dataclass(frozen=True)
class AlignedSeries:
    """Series moved so that all end at step T, with what is known of each of their steps."""

    target: Array
    """(N, T), NaN before a series begins and where missing."""
    begins: Steps
    """(N,) first observed step."""
    calendar: Array | None = None
    """(N, T, C), or as many steps more as were asked for"""
    covariates: Array | None = None
    """(N, T, K)"""
    static: Array | None = None
    """(N, D)"""

    def part(self, series: NDArray[np.int64], steps: slice) -> tuple[Array, Array | None, Array | None]:
        """Target, calendar and covariates of some series and steps."""
        calendar = None if self.calendar is None else self.calendar[series, steps]
        covariates = None if self.covariates is None else self.covariates[series, steps]
        return self.target[series, steps], calendar, covariates


def align_ends(
    series: SeriesSet, calendar: Sequence[str] = (), static: Array | None = None, ahead: int = 0
) -> AlignedSeries:
    """Move each series to the end of the axis, calendar and covariates with it.

    Args:
        static: (N, D) instead of the series' own.
        ahead: steps after the end that the calendar goes on for.
    """
    source = np.arange(series.length) - (series.length - series.ends)[:, None]  # (N, T)
    outside = source < 0
    source = np.maximum(source, 0)
    rows = np.arange(len(series.ids))[:, None]
    columns = series.calendar(tuple(calendar), ahead)
    covariates = series.covariates
    if covariates is not None:
        covariates = np.where(outside[..., None], np.float32(np.nan), covariates[rows, source])
    return AlignedSeries(
        target=np.where(outside, np.float32(np.nan), series.target[rows, source]),
        begins=series.begins + (series.length - series.ends),
        calendar=None if columns is None else columns[_going_on(source, ahead)],
        covariates=covariates,
        static=series.static if static is None else static,
    )


def _going_on(source: Steps, ahead: int) -> Steps:
    """(N, T + ahead) from (N, T): steps after the last."""
    return np.concatenate([source, source[:, -1:] + np.arange(1, ahead + 1)], axis=1)


@dataclass(frozen=True)
class Split:
    """Where validation and test begin on the aligned axis, and where it ends."""

    validation: int
    test: int
    end: int


def split_time(series: SeriesSet, validation: str | None, test: str | None, horizon: int) -> Split:
    """Hold out the end of every series for the test, and what comes before it for validation.

    Args:
        validation, test: lengths such as "672" (steps) or "4W"; if None a tenth of the median series, in whole
            horizons, or less where that leaves the shortest without two horizons to train on.

    Raises:
        TrainingError: a length that cannot be read, is shorter than the horizon, or leaves too little to train on.
    """
    spans = series.ends - series.begins
    room = (int(spans.min()) - 2 * horizon) // 2
    tenth = str(max(min(int(np.median(spans)) // 10, room) // horizon, 1) * horizon)
    lengths = []
    for name, text in (("validation-length", validation), ("test-length", test)):
        lengths.append(parse_steps(text or tenth, series.frequency))
        if lengths[-1] < horizon:
            raise TrainingError(f"{name}: expected at least the horizon of {horizon} steps, got {lengths[-1]}")
    shortest = int(spans.argmin())
    if spans[shortest] < sum(lengths) + 2 * horizon:
        raise TrainingError(
            f"series {series.ids[shortest]!r}: expected at least {2 * horizon} steps before validation and test,"
            f" got {spans[shortest] - sum(lengths)}; shorten --horizon, --validation-length or --test-length,"
            " or leave the series out with --series"
        )
    test_begin = series.length - lengths[1]
    return Split(test_begin - lengths[0], test_begin, series.length)


def groups_by_begin(begins: Steps, most: int) -> Iterator[Steps]:
    """Series that begin at the same step, at most so many at once: what can be run as one batch from the start."""
    for begin in np.unique(begins):
        group = np.flatnonzero(begins == begin)
        yield from np.array_split(group, -(-len(group) // most))
