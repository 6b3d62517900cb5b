"""Forecasts that need no training: seasonal naive, drift and M4's Naive 2, with the intervals of their past errors.

All look at the values before each origin alone; the spread comes from the errors they would have made before the
first origin (Hyndman and Athanasopoulos, Forecasting: Principles and Practice, 3rd edition, section 5.5).
Shapes as in `training.evaluation.metrics`.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from training.evaluation.metrics import MEASURED_LEVELS, Array, Forecasts, Steps


def actual_values(target: ArrayLike, origins: Steps, horizon: int) -> Array:
    """(N, O, P): what came in the `horizon` steps from each origin (O,) on; NaN beyond the end."""
    values = np.asarray(target, np.float64)
    padded = np.pad(values, ((0, 0), (0, horizon)), constant_values=np.nan)
    return np.asarray(padded[:, origins[:, None] + np.arange(horizon)])


def seasonal_naive(
    target: ArrayLike, origins: Steps, horizon: int, season: int, levels: Sequence[float] = MEASURED_LEVELS
) -> Forecasts:
    """The value one season before, again and again; season 1 is the naive forecast.

    A missing value is replaced by the one a season earlier, or, where there is none, by the last before the
    origin. Normal intervals, as wide as the standard deviation of
    the differences one season apart, times the root of the seasons they reach ahead.
    """
    values = np.asarray(target, np.float64)
    filled = filled_from_season_before(values, season)
    ahead = np.arange(horizon)
    steps = origins[:, None] - season + ahead % season  # (O, P)
    point = np.where(steps >= 0, filled[:, np.maximum(steps, 0)], np.nan)  # (N, O, P)
    point = np.where(np.isnan(point), _last_before(values, origins)[..., None], point)
    past = values[:, : origins[0]]
    deviation = _deviation(past[:, season:] - past[:, :-season])
    spread = deviation[:, None, None] * np.sqrt(ahead // season + 1)
    return Forecasts(actual_values(values, origins, horizon), _normal(point, spread, levels), tuple(levels))


def drift(target: ArrayLike, origins: Steps, horizon: int, levels: Sequence[float] = MEASURED_LEVELS) -> Forecasts:
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


def naive_2(
    target: ArrayLike, origins: Steps, horizon: int, season: int, levels: Sequence[float] = MEASURED_LEVELS
) -> Forecasts:
    """The last value of the series without its season, times the season: what M4's OWA is measured against.

    A series counts as seasonal where its autocorrelation says so at the 90 % level, as in M4; the season is that of
    a classical multiplicative decomposition. Normal intervals, as of the naive forecast.
    """
    values = np.asarray(target, np.float64)
    shape = (len(values), len(origins), horizon)
    point, spread = np.full(shape, np.nan), np.full(shape, np.nan)
    for index, series in enumerate(filled_from_season_before(values, season)):
        for place, origin in enumerate(origins):
            known = series[:origin][~np.isnan(series[:origin])]
            if not len(known):
                continue
            factors = _season_factors(known, season) if _is_seasonal(known, season) else np.ones(season)
            adjusted = known / factors[np.arange(len(known)) % season]
            ahead = factors[np.arange(len(known), len(known) + horizon) % season]
            point[index, place] = adjusted[-1] * ahead
            spread[index, place] = _deviation(np.diff(adjusted)[None]) * np.sqrt(np.arange(1, horizon + 1)) * ahead
    return Forecasts(actual_values(values, origins, horizon), _normal(point, spread, levels), tuple(levels))


def _is_seasonal(values: Array, season: int) -> bool:
    """Whether the autocorrelation one season apart is beyond what chance explains (M4's test)."""
    if season <= 1 or len(values) < 3 * season or values.std() == 0:
        return False
    centred = values - values.mean()
    correlations = [(centred[lag:] * centred[:-lag]).sum() / (centred**2).sum() for lag in range(1, season + 1)]
    limit = 1.645 * np.sqrt((1 + 2 * np.sum(np.square(correlations[:-1]))) / len(values))
    return bool(abs(correlations[-1]) > limit)


def _season_factors(values: Array, season: int) -> Array:
    """(season,) factors of a classical multiplicative decomposition, mean 1; the first belongs to the first value."""
    weights = np.full(season, 1 / season) if season % 2 else np.r_[0.5, np.ones(season - 1), 0.5] / season
    trend = np.convolve(values, weights, "valid")
    if (trend == 0).any():
        return np.ones(season)  # nothing can be divided by it
    before = len(weights) // 2
    ratios = np.full(len(values), np.nan)
    ratios[before : before + len(trend)] = values[before : before + len(trend)] / trend
    factors = np.array([np.nanmean(ratios[place::season]) for place in range(season)])
    return factors / factors.mean() if (factors != 0).all() and factors.mean() != 0 else np.ones(season)


def filled_from_season_before(values: Array, season: int) -> Array:
    """(N, T) in which a missing value is the one a season before, where there is one."""
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
