"""Rolling-origin evaluation of an exported forecaster, through the very graphs that will serve.

    history   ├──── observe ────┤── observe ──┤── observe ──┤
    origin                      o             o             o       rows are carried on, nothing is seen twice
    forecast                    ├─────────┤   ├─────────┤   ├ …     each from a copy of the origin's row

A model that tells the whole horizon at once is asked for its quantiles; another, or one asked to look further than
that, for sampled paths. Series are aligned at their ends, so that one list of origins holds for all. Shapes: N series,
T steps, O origins, P prediction length, Q quantile levels, B rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from service.contract.quantile_function import quantile_function
from training.data.alignment import AlignedSeries, Steps, groups_by_begin
from training.evaluation.baselines import actual_values
from training.evaluation.metrics import MEASURED_LEVELS, Forecasts

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


@runtime_checkable
class DirectRunner(Runner, Protocol):
    """A model that may tell many steps at once as well."""

    @property
    def prediction_length(self) -> int | None:
        """Steps that `forecast` tells; None where there is no such graph."""

    @property
    def levels(self) -> tuple[float, ...]:
        """Of the quantiles that `forecast` gives."""

    def forecast(self, rows: Rows, calendar: Rows | None = None) -> Rows: ...


@dataclass(frozen=True)
class Backtest:
    """Forecasts at each origin, and where each value fell in its one-step-ahead distribution."""

    origins: Steps
    """(O,) steps of the aligned axis."""
    forecasts: Forecasts
    pit: NDArray[np.float32]
    """(N, steps from the first origin to the end of what was observed), NaN where missing."""


def rolling_origins(first: int, end: int, horizon: int, stride: int) -> Steps:
    """(O,) origins from `first` on, `stride` apart, whose whole horizon lies before `end`."""
    return np.arange(first, end - horizon + 1, stride, dtype=np.int64)


def answers_directly(model: Runner, horizon: int) -> bool:
    """Whether the model tells so many steps at once, so that nothing is sampled."""
    return isinstance(model, DirectRunner) and horizon <= (model.prediction_length or 0)


def backtest(
    model: Runner,
    series: AlignedSeries,
    origins: Steps,
    horizon: int,
    paths: int,
    seed: int = 0,
    levels: Sequence[float] = MEASURED_LEVELS,
    advanced: Callable[[float], None] = lambda share: None,
    *,
    sampled: bool = False,
    first_number: int = 0,
    end: int = 0,
) -> Backtest:
    """Forecast `horizon` steps at each origin, knowing what came before it and no more.

    Args:
        paths: sampled futures per forecast, where the model does not answer directly.
        advanced: told the share that is done, after each origin.
        sampled: draw paths even from a model that could answer directly.
        first_number: of the first series; its paths go with its number, so that a part of a set gives what
            the whole does.
        end: step up to which values are observed, where that is after the last horizon.
    """
    count, end = len(series.target), max(int(origins[-1]) + horizon, end)
    quantiles = np.full((count, len(origins), horizon, len(levels)), np.nan)
    pit = np.full((count, end - int(origins[0])), np.nan, np.float32)
    direct = not sampled and answers_directly(model, horizon)
    groups = list(groups_by_begin(series.begins, MOST_ROWS if direct else max(MOST_ROWS // paths, 1)))
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
            if direct:
                quantiles[group, place] = _told(model, rows, series, group, origin, horizon, levels)
            else:
                uniforms = _uniforms(seed, origin, group + first_number, paths, horizon)
                quantiles[group, place] = _drawn(model, rows, series, group, origin, uniforms, levels)
            done += 1
            advanced(done / (len(groups) * len(origins)))
    actual = actual_values(series.target, origins, horizon)
    return Backtest(origins, Forecasts(actual, quantiles, tuple(levels)), pit)


def _told(
    model: Runner,
    rows: Rows,
    series: AlignedSeries,
    group: Steps,
    origin: int,
    horizon: int,
    levels: Sequence[float],
) -> NDArray[np.float64]:
    """(len(group), P, Q) of the model's direct forecast at any levels."""
    assert isinstance(model, DirectRunner) and model.prediction_length is not None
    _, calendar, _ = series.part(group, slice(origin, origin + model.prediction_length))
    quantiles = model.forecast(rows, calendar)[:, :horizon, None]  # (len(group), P, 1, its levels)
    return quantile_function(quantiles, model.levels, np.asarray(levels))


def _drawn(
    model: Runner,
    rows: Rows,
    series: AlignedSeries,
    group: Steps,
    origin: int,
    uniforms: Rows,
    levels: Sequence[float],
) -> NDArray[np.float64]:
    """(len(group), P, Q) of the paths that the uniforms (len(group) · paths, P) give."""
    paths, horizon = len(uniforms) // len(group), uniforms.shape[1]
    _, calendar, covariates = series.part(group, slice(origin, origin + horizon))
    many = (None if array is None else np.repeat(array, paths, axis=0) for array in (calendar, covariates))
    samples, _ = model.generate(np.repeat(rows, paths, axis=0), uniforms, *many)
    drawn = samples.reshape(len(group), paths, horizon)
    return np.asarray(np.moveaxis(np.quantile(drawn, levels, axis=1), 0, -1))


def _uniforms(seed: int, origin: int, series: NDArray[np.int64], paths: int, horizon: int) -> Rows:
    """(len(series) · paths, P) strictly inside (0, 1); a series' own do not depend on the others."""
    draws = [np.random.Generator(np.random.Philox(key=[seed, (n << 40) + origin])) for n in series.tolist()]
    whole = np.concatenate([draw.integers(0, 2**23, (paths, horizon)) for draw in draws])
    return ((whole + 0.5) / 2**23).astype(np.float32)
