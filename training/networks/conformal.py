"""Adaptive conformal adjustment: a stream's intervals made wider or narrower until they cover what they promise.

Adaptive conformal inference (Gibbs and Candès, "Adaptive Conformal Inference Under Distribution Shift", 2021) on the
logarithm of the width, for each side of the distribution by itself: θ ← θ + rate · (missed − α). A stream remembers
the two factors exp θ; a step multiplies them by one of two constants. `training.export.conformal` builds the same
operations into graphs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from training.networks.anomaly_likelihood import spread_levels

Array = NDArray[np.float32]

FACTORS = 2
"""Values that a stream remembers: factor of the lower side, factor of the upper side; 1 at first."""
NARROWEST, WIDEST = 0.1, 10.0


def multipliers(levels: Sequence[float], rate: float) -> tuple[Array, Array]:
    """What the factors (2,) of the lower and the upper side are multiplied by after a hit, and after a miss."""
    low, _, high = spread_levels(levels)
    missing = np.array([levels[low], 1 - levels[high]])
    return np.exp(-rate * missing).astype(np.float32), np.exp(rate * (1 - missing)).astype(np.float32)


def conformal_factors(values: Array, quantiles: Array, levels: Sequence[float], rate: float) -> tuple[Array, Array]:
    """Factors (N, T, 2) before each of the values (N, T) that quantiles (N, T, Q) foretold, and those after (N, 2).

    Args:
        values: in any unit that the quantiles have as well, NaN where missing.
        quantiles: as they were before they were adjusted.
        rate: what the logarithm of a side's width grows by at a miss; every step takes back the share α of it.
    """
    factors = np.ones((len(values), FACTORS), np.float32)
    before = np.empty((*values.shape, FACTORS), np.float32)
    for step in range(values.shape[1]):
        before[:, step] = factors
        factors = advance(factors, values[:, step], quantiles[:, step], levels, rate)
    return before, factors


def advance(factors: Array, values: Array, quantiles: Array, levels: Sequence[float], rate: float) -> Array:
    """Factors (N, 2) after values (N,) that quantiles (N, Q) foretold, unchanged where one is missing."""
    low, centre, high = spread_levels(levels)
    error = values - quantiles[:, centre]
    away = np.stack([-error, error], -1)
    reach = np.abs(quantiles[:, [low, high]] - quantiles[:, [centre]])
    hit, missed = multipliers(levels, rate)
    moved = np.clip(factors * np.where(away > factors * reach, missed, hit), NARROWEST, WIDEST, dtype=np.float32)
    return np.where(np.isnan(error)[:, None], factors, moved)


def adjusted(quantiles: Array, factors: Array, levels: Sequence[float]) -> Array:
    """Quantiles (…, Q) with the gaps of either side multiplied by its factor (…, 2)."""
    middle = quantiles[..., spread_levels(levels)[1], None]
    away = quantiles - middle
    return middle + away * np.where(away < 0, factors[..., :1], factors[..., 1:])
