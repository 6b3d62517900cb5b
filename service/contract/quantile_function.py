"""The distribution that a few quantiles stand for, as arrays: what `training.networks.quantile_head` trains.

Piecewise linear between the levels, with power tails beyond the outer ones whose density goes on where they begin.
The service reads levels, means and sample paths of direct forecasts from it, and training measures with it.
Computed in double precision, one element like another: a part of an array gives the same bits as the whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from service.contract.normal import normal_probability, normal_score

Array = NDArray[np.float64]

TAIL_POWER = 4
MARGIN = 2.0**-24
"""No probability is nearer to 0 or 1."""
_LEAST = np.finfo(np.float64).tiny
"""Stands for a width of nothing, of a distribution that is a single value."""


def quantile_function(quantiles: ArrayLike, levels: Sequence[float], probabilities: ArrayLike) -> Array:
    """Values below which the given probabilities, strictly inside (0, 1), lie; exactly a quantile at its level.

    Args:
        quantiles: (…, Q), increasing in the last axis; values of NaN give NaN.
        probabilities: of a shape that broadcasts with (…), as the values are.
    """
    tau, known, u = np.asarray(levels, np.float64), np.asarray(quantiles, np.float64), np.asarray(probabilities)
    u = u.astype(np.float64)
    piece = np.clip(np.searchsorted(tau, u, side="right") - 1, 0, len(tau) - 2)
    begins, ends = _at(known, piece), _at(known, piece + 1)
    share = np.clip((u - tau[piece]) / (tau[piece + 1] - tau[piece]), 0, 1)
    lower, upper = _tail_scales(known, tau)
    below = np.sqrt(np.sqrt(tau[0] / np.minimum(u, tau[0]))) - 1
    above = np.sqrt(np.sqrt((1 - tau[-1]) / np.minimum(1 - u, 1 - tau[-1]))) - 1
    return np.asarray(begins + (ends - begins) * share - lower * below + upper * above)


def probability_below(quantiles: ArrayLike, levels: Sequence[float], values: ArrayLike) -> Array:
    """How much of each distribution (…, Q) lies below values (…): the probability integral transform; NaN of NaN."""
    tau, known = np.asarray(levels, np.float64), np.asarray(quantiles, np.float64)
    x = np.asarray(values, np.float64)
    lower, upper = _tail_scales(known, tau)
    with np.errstate(over="ignore"):
        share = np.clip((x[..., np.newaxis] - known[..., :-1]) / np.maximum(np.diff(known), _LEAST), 0, 1)
        below = (1 + np.maximum(known[..., 0] - x, 0) / np.maximum(lower, _LEAST)) ** -TAIL_POWER
        above = (1 + np.maximum(x - known[..., -1], 0) / np.maximum(upper, _LEAST)) ** -TAIL_POWER
    inside = sum(share[..., index] * step for index, step in enumerate(np.diff(tau)))
    return np.asarray(np.clip(tau[0] * below + inside + (1 - tau[-1]) * (1 - above), MARGIN, 1 - MARGIN))


def mean_of(quantiles: ArrayLike, levels: Sequence[float]) -> Array:
    """The mean (…) of each distribution (…, Q), tails included."""
    tau, known = np.asarray(levels, np.float64), np.asarray(quantiles, np.float64)
    lower, upper = _tail_scales(known, tau)
    # The mean of a tail of power 4 lies a third of its scale beyond where it begins.
    parts = [tau[0] * (known[..., 0] - lower / 3), (1 - tau[-1]) * (known[..., -1] + upper / 3)]
    middles = (known[..., 1:] + known[..., :-1]) / 2
    return np.asarray(sum((middles[..., index] * step for index, step in enumerate(np.diff(tau))), sum(parts)))


def path_probabilities(uniforms: ArrayLike, correlation: float) -> Array:
    """Probabilities (N, H) of sample paths from independent uniforms (N, H): each uniform by itself, neighbours alike.

    A Gaussian copula: normal scores z₁ = ε₁ and z_h = ρ z_{h−1} + √(1 − ρ²) ε_h, with ρ the `correlation`. The first
    steps of a longer path are those of a shorter one.
    """
    scores = np.ascontiguousarray(normal_score(uniforms).T)  # (H, N)
    for step in range(1, len(scores)):
        scores[step] = correlation * scores[step - 1] + np.sqrt(1 - correlation**2) * scores[step]
    return np.clip(normal_probability(scores).T, MARGIN, 1 - MARGIN)


def _tail_scales(known: Array, tau: Array) -> tuple[Array, Array]:
    """Scales (…) of the lower and of the upper tail."""
    first = (known[..., 1] - known[..., 0]) / (tau[1] - tau[0])
    last = (known[..., -1] - known[..., -2]) / (tau[-1] - tau[-2])
    return TAIL_POWER * tau[0] * first, TAIL_POWER * (1 - tau[-1]) * last


def _at(known: Array, index: NDArray[np.intp]) -> Array:
    """The quantile of each number in `index`, whose shape broadcasts with (…)."""
    first = known.shape[-1] * np.arange(math.prod(known.shape[:-1])).reshape(known.shape[:-1])
    return np.asarray(known.reshape(-1).take(first + index))
