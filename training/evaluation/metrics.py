"""Forecast metrics under the definitions that published tables use; lower is better but for coverage.

Shapes: N series, O origins, P prediction length, Q quantile levels. Values that were not observed are not scored.
Definitions: Hyndman and Koehler, 2006 (MASE); Makridakis et al., 2020 (M4: sMAPE in percent, MSIS, OWA); Salinas et
al., 2020, and GluonTS (ND, and weighted quantile loss, whose mean over levels is reported as CRPS); Shchur et al.,
2023 (AutoGluon and fev: scaled quantile loss).

Metrics in units of a seasonal error take one per series, (N,), as M4 does, or one per series and origin, (N, O), as
fev does, where each window is scaled by all that came before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Steps = NDArray[np.int64]

LEVELS = tuple(round(level / 10, 1) for level in range(1, 10))
"""The nine deciles, over which the mean quantile losses are taken everywhere."""
MEASURED_LEVELS = (0.025, *LEVELS, 0.975)
"""The deciles, and the ends of the 95 % interval that MSIS takes."""


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

    def only(self, levels: tuple[float, ...]) -> Forecasts:
        """The same at some of its levels."""
        return Forecasts(self.actual, self.quantiles[..., [self.levels.index(level) for level in levels]], levels)


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


def seasonal_errors_at(target: ArrayLike, origins: Steps, season: int) -> Array:
    """(N, O) the seasonal error of what came before each origin."""
    values = np.asarray(target, np.float64)
    return np.stack([seasonal_error(values[:, :origin], season) for origin in origins.tolist()], axis=1)


def mase(forecasts: Forecasts, seasonal_errors: Array) -> float:
    """Mean absolute error of the median in units of each series' seasonal error, averaged over series.

    A series whose past never changes, or was never observed, has no such unit and is left out.
    """
    return _scaled_mean(np.abs(forecasts.actual - forecasts.at(0.5)), seasonal_errors)


def scaled_quantile_loss(forecasts: Forecasts, seasonal_errors: Array) -> float:
    """SQL: twice the quantile loss, averaged over the deciles, in units of each series' seasonal error.

    That of a forecast without spread is its MASE.
    """
    return _scaled_mean(quantile_losses(forecasts).mean(axis=-1), seasonal_errors)


def msis(forecasts: Forecasts, seasonal_errors: Array, low: float = 0.025, high: float = 0.975) -> float:
    """Mean scaled interval score: the width of an interval and, for each value outside, 2/α of how far outside."""
    alpha = 1 - (high - low)
    lower, upper, actual = forecasts.at(low), forecasts.at(high), forecasts.actual
    outside = np.maximum(lower - actual, 0) + np.maximum(actual - upper, 0)
    return _scaled_mean(upper - lower + 2 / alpha * outside, seasonal_errors)


def smape(forecasts: Forecasts) -> float:
    """Symmetric mean absolute percentage error of the median, 0 to 200; 0 where forecast and value are both 0."""
    median = forecasts.at(0.5)
    size = np.abs(forecasts.actual) + np.abs(median)
    error = 200 * np.abs(forecasts.actual - median)
    return float(np.nanmean(np.where(size > 0, error / np.where(size > 0, size, 1), error)))


def normalised_deviation(forecasts: Forecasts) -> float:
    """ND: summed absolute error of the median over the summed size of the values; NaN where all are 0."""
    size = np.nansum(np.abs(forecasts.actual))
    return float(np.nansum(np.abs(forecasts.actual - forecasts.at(0.5))) / size) if size > 0 else float("nan")


def owa(metrics: Mapping[str, float], naive_2: Mapping[str, float]) -> float:
    """M4's overall weighted average: the mean of sMAPE and MASE, each over that of Naive 2 on the same series."""
    return (metrics["smape"] / naive_2["smape"] + metrics["mase"] / naive_2["mase"]) / 2


def mean_weighted_quantile_loss(forecasts: Forecasts) -> float:
    """Twice the quantile loss summed over everything, over the summed size of the values, averaged over the deciles.

    NaN where all values are 0.
    """
    loss = np.nansum(quantile_losses(forecasts), axis=(0, 1, 2))
    size = np.nansum(np.abs(forecasts.actual))
    return float(np.mean(loss) / size) if size > 0 else float("nan")


def quantile_losses(forecasts: Forecasts) -> Array:
    """(N, O, P, D) twice the quantile (pinball) loss at each of the deciles that were forecast."""
    deciles = forecasts.only(tuple(level for level in forecasts.levels if level in LEVELS))
    levels = np.asarray(deciles.levels)
    error = deciles.actual[..., None] - deciles.quantiles
    return np.asarray(2 * np.maximum(levels * error, (levels - 1) * error))


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
    """All of the above by name; `coverage_80` is that of the interval between the outer deciles.

    MSIS is left out of forecasts that lack the ends of the 95 % interval.
    """
    metrics = {
        "mase": mase(forecasts, seasonal_errors),
        "smape": smape(forecasts),
        "nd": normalised_deviation(forecasts),
        "mean_weighted_quantile_loss": mean_weighted_quantile_loss(forecasts),
        "scaled_quantile_loss": scaled_quantile_loss(forecasts, seasonal_errors),
    }
    if {0.025, 0.975} <= set(forecasts.levels):
        metrics["msis"] = msis(forecasts, seasonal_errors)
    return metrics | {"coverage_80": coverage(forecasts, 0.1, 0.9)}


def _scaled_mean(losses: Array, scales: Array) -> float:
    """Mean over series (and origins, where each has its scale) of the mean loss (N, O, P) in units of the scale."""
    by_scale = losses.reshape(*scales.shape, -1)
    usable = np.isfinite(scales) & (scales > 0) & ~np.isnan(by_scale).all(axis=-1)
    if not usable.any():
        return float("nan")
    return float(np.mean(np.nanmean(by_scale[usable], axis=-1) / scales[usable]))
