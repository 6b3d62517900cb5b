"""What forecasts come to at each step ahead: error and coverage, which a single mean over the horizon hides.

Shapes as in `training.evaluation.metrics`; a step at which nothing was observed is NaN.
"""

from __future__ import annotations

import numpy as np

from training.evaluation.metrics import Array, Forecasts, quantile_losses


def coverage_by_horizon(forecasts: Forecasts, low: float = 0.1, high: float = 0.9) -> Array:
    """(P,) share of values between two quantiles, both ends included."""
    actual = forecasts.actual
    within = ((actual >= forecasts.at(low)) & (actual <= forecasts.at(high))).astype(np.float64)
    return _mean_of_step(np.where(np.isnan(actual), np.nan, within))


def mase_by_horizon(forecasts: Forecasts, seasonal_errors: Array) -> Array:
    """(P,) absolute error of the median in units of the seasonal error, (N,) or (N, O)."""
    return _mean_of_step(_in_units(np.abs(forecasts.actual - forecasts.at(0.5)), seasonal_errors))


def scaled_quantile_loss_by_horizon(forecasts: Forecasts, seasonal_errors: Array) -> Array:
    """(P,) twice the quantile loss, averaged over the deciles, in units of the seasonal error, (N,) or (N, O)."""
    return _mean_of_step(_in_units(quantile_losses(forecasts).mean(axis=-1), seasonal_errors))


def width_by_horizon(forecasts: Forecasts, seasonal_errors: Array, low: float = 0.1, high: float = 0.9) -> Array:
    """(P,) width of an interval in units of the seasonal error, (N,) or (N, O)."""
    return _mean_of_step(_in_units(forecasts.at(high) - forecasts.at(low), seasonal_errors))


def _in_units(values: Array, scales: Array) -> Array:
    """(N, O, P) over their scales; NaN where there is no unit."""
    usable = np.where(np.isfinite(scales) & (scales > 0), scales, np.nan)
    return np.asarray(values / usable.reshape(len(usable), -1, 1))


def _mean_of_step(values: Array) -> Array:
    """(P,) means over series and origins of (N, O, P) without what is NaN."""
    counts = (~np.isnan(values)).sum(axis=(0, 1))
    return np.where(counts > 0, np.nansum(values, axis=(0, 1)) / np.maximum(counts, 1), np.nan)
