"""Rolling-origin evaluation of an exported forecaster, through the very graphs that will serve.

    history   ├──── observe ────┤── observe ──┤── observe ──┤
    origin                      o             o             o       rows are carried on, nothing is seen twice
    forecast                    ├ N paths ┤   ├ N paths ┤   ├ …     each from a copy of the origin's row

Series are aligned at their ends, so that one list of origins holds for all. Shapes: N series, T steps, O origins,
P prediction length, Q quantile levels, B rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from training.data.alignment import AlignedSeries, Steps, groups_by_begin
from training.evaluation.baselines import actual_values
from training.evaluation.metrics import LEVELS, Forecasts

Rows = NDArray[np.float32]
MOST_ROWS = 8192
"""Paths drawn at once; more series than that allows are taken one part after another."""


class Runner(Protocol):
    """What a backtest needs of a model; `training.export.runner.ExportedForecaster` is one."""

    def initial(self, static: Rows | None = None, batch: int = 1) -> Rows: ...

    def observe(
        self, rows: Rows, target: Rows, calendar: Rows | None = None, covariates: Rows | None = None
    ) -> tuple[Rows, Rows, Rows]: ...

    def generate(
        self, rows: Rows, uniforms: Rows, calendar: Rows | None = None, covariates: Rows | None = None
    ) -> tuple[Rows, Rows]: ...


@dataclass(frozen=True)
class Backtest:
    """Forecasts at each origin, and where each value fell in its one-step-ahead distribution."""

    origins: Steps
    """(O,) steps of the aligned axis."""
    forecasts: Forecasts
    pit: NDArray[np.float32]
    """(N, steps from the first origin to the end of the last horizon), NaN where missing."""


def rolling_origins(first: int, end: int, horizon: int, stride: int) -> Steps:
    """(O,) origins from `first` on, `stride` apart, whose whole horizon lies before `end`."""
    return np.arange(first, end - horizon + 1, stride, dtype=np.int64)


def backtest(
    model: Runner,
    series: AlignedSeries,
    origins: Steps,
    horizon: int,
    paths: int,
    seed: int = 0,
    levels: Sequence[float] = LEVELS,
    advanced: Callable[[float], None] = lambda share: None,
) -> Backtest:
    """Forecast `horizon` steps at each origin by `paths` sampled futures, knowing what came before it and no more.

    Args:
        advanced: told the share that is done, after each origin.
    """
    count, end = len(series.target), int(origins[-1]) + horizon
    quantiles = np.full((count, len(origins), horizon, len(levels)), np.nan)
    pit = np.full((count, end - int(origins[0])), np.nan, np.float32)
    groups = list(groups_by_begin(series.begins, max(MOST_ROWS // paths, 1)))
    done = 0
    for group in groups:
        rows = model.initial(None if series.static is None else series.static[group], len(group))
        at = int(series.begins[group[0]])
        for place, origin in enumerate([*origins.tolist(), end]):
            if origin > at:
                target, calendar, covariates = series.part(group, slice(at, origin))
                _, fell, rows = model.observe(rows, target, calendar, covariates)
                pit[group, max(at - origins[0], 0) : origin - origins[0]] = fell[:, max(origins[0] - at, 0) :]
                at = origin
            if origin == end:
                break
            _, calendar, covariates = series.part(group, slice(origin, origin + horizon))
            uniforms = _uniforms(seed, origin, group, paths, horizon)
            many = (None if array is None else np.repeat(array, paths, axis=0) for array in (calendar, covariates))
            samples, _ = model.generate(np.repeat(rows, paths, axis=0), uniforms, *many)
            drawn = samples.reshape(len(group), paths, horizon)
            quantiles[group, place] = np.moveaxis(np.quantile(drawn, levels, axis=1), 0, -1)
            done += 1
            advanced(done / (len(groups) * len(origins)))
    actual = actual_values(series.target, origins, horizon)
    return Backtest(origins, Forecasts(actual, quantiles, tuple(levels)), pit)


def _uniforms(seed: int, origin: int, series: NDArray[np.int64], paths: int, horizon: int) -> Rows:
    """(len(series) · paths, P) strictly inside (0, 1); a series' own do not depend on the others."""
    draws = [np.random.Generator(np.random.Philox(key=[seed, (n << 40) + origin])) for n in series.tolist()]
    whole = np.concatenate([draw.integers(0, 2**23, (paths, horizon)) for draw in draws])
    return ((whole + 0.5) / 2**23).astype(np.float32)
