"""Forecast metrics under the definitions that published tables use; lower is better but for coverage.

Shapes: N series, O origins, P prediction length, Q quantile levels. Values that were not observed are not scored.
Definitions: Hyndman and Koehler, 2006 (MASE); Makridakis et al., 2020 (M4: sMAPE in percent); Salinas et al., 2020,
and GluonTS (weighted quantile loss, whose mean over levels is reported as CRPS).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

LEVELS = tuple(round(level / 10, 1) for level in range(1, 10))
"""The nine deciles, over which the mean weighted quantile loss is taken everywhere."""


@dataclass(frozen=True)
class Forecasts:
    """Forecasts from several origins, and what came."""

    actual: Array
    """(N, O, P), NaN where not observed."""
    quantiles: Array
    """(N, O, P, Q), increasing along the last axis."""
    levels: tuple[float, ...] = LEVELS

    def at(self, level: float) -> Array:
        """(N, O, P) of the quantile at one of the levels."""
        return np.asarray(self.quantiles[..., self.levels.index(level)])


def seasonal_error(history: ArrayLike, season: int) -> Array:
    """(N,) mean absolute difference of values (N, T) one season apart; one step for shorter series."""
    values = np.asarray(history, np.float64)
    errors = np.empty(len(values))
    for index, series in enumerate(values):
        observed = np.flatnonzero(~np.isnan(series))
        span = series[observed[0] : observed[-1] + 1] if len(observed) else series[:0]
        step = season if len(span) > season else 1
        difference = np.abs(span[step:] - span[:-step])
        errors[index] = np.nanmean(difference) if np.any(~np.isnan(difference)) else np.nan
    return errors


def mase(forecasts: Forecasts, seasonal_errors: Array) -> float:
    """Mean absolute error of the median in units of each series' seasonal error, averaged over series.

    A series whose past never changes, or was never observed, has no such unit and is left out.
    """
    error = np.abs(forecasts.actual - forecasts.at(0.5)).reshape(len(seasonal_errors), -1)
    usable = np.isfinite(seasonal_errors) & (seasonal_errors > 0) & ~np.isnan(error).all(axis=1)
    if not usable.any():
        return float("nan")
    return float(np.mean(np.nanmean(error[usable], axis=1) / seasonal_errors[usable]))


def smape(forecasts: Forecasts) -> float:
    """Symmetric mean absolute percentage error of the median, 0 to 200; 0 where forecast and value are both 0."""
    median = forecasts.at(0.5)
    size = np.abs(forecasts.actual) + np.abs(median)
    error = 200 * np.abs(forecasts.actual - median)
    return float(np.nanmean(np.where(size > 0, error / np.where(size > 0, size, 1), error)))


def mean_weighted_quantile_loss(forecasts: Forecasts) -> float:
    """Twice the quantile loss summed over everything, over the summed size of the values, averaged over levels.

    NaN where all values are 0.
    """
    levels = np.asarray(forecasts.levels)
    error = forecasts.actual[..., None] - forecasts.quantiles  # (N, O, P, Q)
    loss = 2 * np.nansum(np.maximum(levels * error, (levels - 1) * error), axis=(0, 1, 2))
    size = np.nansum(np.abs(forecasts.actual))
    return float(np.mean(loss) / size) if size > 0 else float("nan")


def coverage(forecasts: Forecasts, low: float, high: float) -> float:
    """Share of values between two quantiles, both ends included."""
    observed = ~np.isnan(forecasts.actual)
    within = (forecasts.actual >= forecasts.at(low)) & (forecasts.actual <= forecasts.at(high))
    return float(within[observed].mean())


def coverage_one_step(pit: ArrayLike, low: float, high: float) -> float:
    """Share of probability integral transforms between two levels: coverage one step ahead."""
    values = np.asarray(pit, np.float64)
    values = values[~np.isnan(values)]
    return float(((values >= low) & (values <= high)).mean()) if len(values) else float("nan")


def coverage_by_level(forecasts: Forecasts) -> dict[float, float]:
    """Share of values at or below each quantile; that of a calibrated forecast is its level."""
    observed = ~np.isnan(forecasts.actual)
    return {level: float((forecasts.actual <= forecasts.at(level))[observed].mean()) for level in forecasts.levels}


def forecast_metrics(forecasts: Forecasts, seasonal_errors: Array) -> dict[str, float]:
    """All of the above by name; `coverage_80` is that of the interval between the outer deciles."""
    return {
        "mase": mase(forecasts, seasonal_errors),
        "smape": smape(forecasts),
        "mean_weighted_quantile_loss": mean_weighted_quantile_loss(forecasts),
        "coverage_80": coverage(forecasts, 0.1, 0.9),
    }
