"""Forecasts that need no training: seasonal naive and drift, with the intervals of their own past errors.

Both look at the values before each origin alone; the spread comes from the errors they would have made before the
first origin (Hyndman and Athanasopoulos, Forecasting: Principles and Practice, 3rd edition, section 5.5).
Shapes as in `training.evaluation.metrics`.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from training.evaluation.metrics import LEVELS, Array, Forecasts

Steps = NDArray[np.int64]


def actual_values(target: ArrayLike, origins: Steps, horizon: int) -> Array:
    """(N, O, P): what came in the `horizon` steps from each origin (O,) on; NaN beyond the end."""
    values = np.asarray(target, np.float64)
    padded = np.pad(values, ((0, 0), (0, horizon)), constant_values=np.nan)
    return np.asarray(padded[:, origins[:, None] + np.arange(horizon)])


def seasonal_naive(
    target: ArrayLike, origins: Steps, horizon: int, season: int, levels: Sequence[float] = LEVELS
) -> Forecasts:
    """The value one season before, again and again; season 1 is the naive forecast.

    A missing value is replaced by the one a season earlier, or, where there is none, by the last before the
    origin. Normal intervals, as wide as the standard deviation of
    the differences one season apart, times the root of the seasons they reach ahead.
    """
    values = np.asarray(target, np.float64)
    filled = _filled_from_season_before(values, season)
    ahead = np.arange(horizon)
    steps = origins[:, None] - season + ahead % season  # (O, P)
    point = np.where(steps >= 0, filled[:, np.maximum(steps, 0)], np.nan)  # (N, O, P)
    point = np.where(np.isnan(point), _last_before(values, origins)[..., None], point)
    past = values[:, : origins[0]]
    deviation = _deviation(past[:, season:] - past[:, :-season])
    spread = deviation[:, None, None] * np.sqrt(ahead // season + 1)
    return Forecasts(actual_values(values, origins, horizon), _normal(point, spread, levels), tuple(levels))


def drift(target: ArrayLike, origins: Steps, horizon: int, levels: Sequence[float] = LEVELS) -> Forecasts:
    """The last value and the mean change so far, the line from a series' first value to its last drawn on."""
    values = np.asarray(target, np.float64)
    point = np.full((len(values), len(origins), horizon), np.nan)
    spread = np.full_like(point, np.nan)
    ahead = np.arange(1, horizon + 1)
    for index, series in enumerate(values):
        observed = np.flatnonzero(~np.isnan(series))
        for place, origin in enumerate(origins):
            known = observed[observed < origin]
            if len(known) < 2:
                continue
            first, last = known[0], known[-1]
            slope = (series[last] - series[first]) / (last - first)
            reach = ahead + (origin - 1 - last)
            point[index, place] = series[last] + reach * slope
            spread[index, place] = np.sqrt(reach * (1 + reach / (last - first)))
    past = values[:, : origins[0]]
    deviation = _deviation(np.diff(past))
    spread = spread * deviation[:, None, None]
    return Forecasts(actual_values(values, origins, horizon), _normal(point, spread, levels), tuple(levels))


def _filled_from_season_before(values: Array, season: int) -> Array:
    filled = values.copy()
    for step in range(season, filled.shape[1]):
        missing = np.isnan(filled[:, step])
        filled[missing, step] = filled[missing, step - season]
    return filled


def _last_before(values: Array, origins: Steps) -> Array:
    """(N, O) last observed value before each origin; NaN where there is none."""
    observed = np.where(np.isnan(values), -1, np.arange(values.shape[1]))
    last = np.maximum.accumulate(observed, axis=1)[:, np.maximum(origins - 1, 0)]
    known = (last >= 0) & (origins > 0)
    return np.where(known, np.take_along_axis(values, np.maximum(last, 0), axis=1), np.nan)


def _deviation(errors: Array) -> Array:
    """(N,) root mean square over time; 0 where nothing was observed."""
    counts = (~np.isnan(errors)).sum(axis=1)
    return np.asarray(np.sqrt(np.nansum(errors**2, axis=1) / np.maximum(counts, 1)))


def _normal(point: Array, spread: Array, levels: Sequence[float]) -> Array:
    """(N, O, P, Q) quantiles of normal distributions around points (N, O, P)."""
    scores = np.array([NormalDist().inv_cdf(level) for level in levels])
    return np.asarray(point[..., None] + spread[..., None] * scores)
