"""The anomaly likelihood: how unlikely a surprise is among those of the same stream, advanced one value at a time.

A surprise is the distance of a value from the expected one in units of the predicted spread. Its fourth power, over the
running mean of all of them, is compared on two levels:

- *rest*: it counts only where it exceeds the greatest one of the last few hundred values, so that a level shift or a
  burst is told once;
- *usual peak*: with G, the running mean of such greatest ones, the score is 1 − G / s. By Markov's inequality at most a
  share 1 − score of the stretches of a stream hold a surprise s as large (as far as there is a mean: what enters is
  clipped), and streams whose spikes recur do not alarm.

After the anomaly likelihood of Lavin and Ahmad ("Evaluating Real-Time Anomaly Detection Algorithms", 2015), with
moments in place of a normal distribution. `training.export.anomaly_likelihood` builds the same operations into graphs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

MEMORY = 6
"""Values that a stream remembers: weight and mean of fourth powers; greatest of late and its age; weight and mean of
those."""
THRESHOLD = 0.99


@dataclass(frozen=True)
class AnomalySettings:
    """How surprises become scores."""

    floor: float = 0.05
    """Spread that is added, in units of the stream's scale: where a network is all too sure."""
    share: float = 1.0
    """What the predicted spread counts for beside it."""
    habit: float = 0.0
    """How far surprises are measured from the stream's habit, 0 on the scale of the features, in place of the median: a
    network that follows the last values closely is little surprised by a day unlike all others."""
    excess: float = 0.0
    """What every scale beyond the range of what the stream has had before adds to a surprise."""
    cap: float = 1000.0
    """Surprises beyond are counted as this one, so that none of them is waited out for too long."""
    warm_up: int = 20
    """First surprises of a stream, among which nothing can be called rare yet: their score is 0."""
    decay: float = 0.9995
    """What a surprise's weight in the running mean falls by at each step."""
    prior: float = 2.0
    """The surprise that a stream is taken to have seen before its first …"""
    prior_weight: float = 50.0
    """… as many times."""
    clip: float = 3.0
    """How many times the usual a surprise counts for at most in the mean, so that a burst does not blind it."""
    least: float = 0.1
    """The usual surprise is not taken to be smaller than this."""
    rest: int = 200
    """Steps in which only a greater surprise than the last one that counted counts."""
    fade: float = 0.9
    """What the fourth power to be exceeded falls by at each step after them."""
    peak_decay: float = 0.999
    peak_prior: float = 2.0
    """The greatest surprise of a stretch, over the usual one, that a stream is taken to have seen …"""
    peak_weight: float = 500.0
    """… for so many steps."""
    peak_clip: float = 1.5
    """How many times the usual one a greatest surprise counts for at most."""

    @property
    def warm_weight(self) -> float:
        """The weight from which a stream is warm, in float32, counted up as a stream does."""
        weight = np.float32(self.prior_weight)
        for _ in range(self.warm_up):
            weight = weight * np.float32(self.decay) + np.float32(1)
        return float(weight)


def initial_memory(settings: AnomalySettings) -> Array:
    """The memory (6,) of a stream that has seen nothing."""
    usual, peak = settings.prior**4, settings.peak_prior**4
    return np.array([settings.prior_weight, usual, 0, 0, settings.peak_weight, peak], np.float32)


def anomaly_likelihood(surprise: Array, settings: AnomalySettings, memory: Array | None = None) -> tuple[Array, Array]:
    """Scores (N, T) of surprises (N, T), NaN where missing, and the memory (N, 6) after them.

    Args:
        memory: (N, 6) as an earlier call left it; that of new streams without.
    """
    surprise = np.asarray(surprise, np.float32)
    if memory is None:
        memory = np.broadcast_to(initial_memory(settings), (len(surprise), MEMORY))
    scores = np.empty_like(surprise)
    for step in range(surprise.shape[1]):
        memory, scores[:, step] = advance(memory, surprise[:, step], settings)
    return scores, memory


def advance(memory: Array, surprise: Array, settings: AnomalySettings) -> tuple[Array, Array]:
    """The memory (N, 6) after surprises (N,), unchanged where they are NaN, and their scores (N,)."""
    fourth = fourth_power(surprise, settings)
    weight, mean, peak, age, peak_weight, usual = memory.T
    size = fourth / mean
    told = (size > peak) & (weight >= np.float32(settings.warm_weight))
    with np.errstate(divide="ignore", over="ignore"):
        score = np.where(told, np.maximum(1 - usual / size, np.float32(0)), np.float32(0))
    weight = weight * np.float32(settings.decay) + np.float32(1)
    mean = mean + (np.minimum(fourth, mean * np.float32(settings.clip**4)) - mean) / weight
    older = np.minimum(age + 1, np.float32(settings.rest))
    faded = np.where(older >= np.float32(settings.rest), peak * np.float32(settings.fade), peak)
    peak = np.where(told, size, faded)
    peak_weight = peak_weight * np.float32(settings.peak_decay) + np.float32(1)
    usual = usual + (np.minimum(peak, usual * np.float32(settings.peak_clip**4)) - usual) / peak_weight
    after = np.stack(
        [
            weight,
            np.maximum(mean, np.float32(settings.least**4)),
            peak,
            np.where(told, np.float32(0), older),
            peak_weight,
            np.maximum(usual, np.float32(1)),
        ],
        -1,
    )
    missing = np.isnan(surprise)
    return np.where(missing[:, None], memory, after), np.where(missing, surprise, score)


def fourth_power(surprise: Array, settings: AnomalySettings) -> Array:
    """Fourth powers (…) of surprises (…), capped."""
    size = np.minimum(surprise, np.float32(settings.cap))
    square = size * size
    return np.asarray(square * square, np.float32)


def surprise_of(
    values: Array,
    quantiles: Array,
    levels: Sequence[float],
    settings: AnomalySettings,
    beyond: Array | None = None,
) -> Array:
    """Surprises (…) of values (…), NaN where missing, that quantiles (…, Q) foretold; both in units of the scale.

    Args:
        beyond: (…) by how many scales values lie outside of what the stream has had before; 0 without.
    """
    low, centre, high = spread_levels(levels)
    spread = (quantiles[..., high] - quantiles[..., low]) * np.float32(spread_share(levels) * settings.share)
    away = np.abs(values - quantiles[..., centre] * np.float32(1 - settings.habit)) / (
        spread + np.float32(settings.floor)
    )
    return np.asarray(away if beyond is None else away + beyond * np.float32(settings.excess), np.float32)


def spread_levels(levels: Sequence[float]) -> tuple[int, int, int]:
    """Indices of the levels nearest to .1, ½ and .9, the first below the last."""
    low = _nearest(levels[:-1], 0.1)
    return low, _nearest(levels, 0.5), low + 1 + _nearest(levels[low + 1 :], 0.9)


def _nearest(levels: Sequence[float], to: float) -> int:
    return min(range(len(levels)), key=lambda index: abs(levels[index] - to))


def spread_share(levels: Sequence[float]) -> float:
    """What the distance between the outer of these levels is multiplied by to be half of that between .1 and .9."""
    low, _, high = spread_levels(levels)
    normal = NormalDist()
    return normal.inv_cdf(0.9) / (normal.inv_cdf(levels[high]) - normal.inv_cdf(levels[low]))
