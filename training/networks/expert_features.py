"""Expert features: what `any-series` sees of a stream of unknown frequency, computed from earlier observations alone.

Simple predictors, the experts, each foretell every value: the last one, the last change going on, two running levels,
values of many lags, means of two periods, medians of three, and the value a season earlier where a season was told. A
running error tells how far each can be trusted; their mixture is the centre, and its own running error the scale, of
what the network predicts. Everything advances step by step with the float32 operations of
`training.export.expert_features`; sums apart, in every bit. Shapes: N series, T time, K experts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

CLIP = 20.0
LEAST_SCALE = 1e-30
LEAST_SHARE = 1e-9
"""Of the level, that the scale is at least: where rounding is all there is to see."""
MOST_COUNTED = 10_000.0
PULLED = 6
"""Of the track, what new values pull: last value, two levels, anchor, highest, lowest."""
TRACK = 10
"""Values that follow the stream: those; last change, amplitude, weight of what was seen, count of it."""
RECENT = 4
"""Values that follow the mixture: its error, the weight of it, recent |z|, last z."""
EXTRAS = 7
"""Features beside two per expert."""


@dataclass(frozen=True)
class ExpertSettings:
    """Which experts there are, and how fast what is known of them changes."""

    lags: tuple[int, ...] = (7, 12, 24, 48, 60, 96, 144, 168, 288, 336, 672, 1008, 1440, 2016)
    level_rates: tuple[float, float] = (0.05, 0.3)
    anchor_memory: float = 200.0
    """Values of which the anchor, whose distance from them is the amplitude, is about the mean."""
    amplitude_decay: float = 0.999
    expert_decay: float = 0.995
    warm: float = 30.0
    """Weight of an expert's errors from which it takes part in the mixture."""
    scale_decay: float = 0.998
    scale_prior: float = 20.0
    """Weight of the amplitude in the scale."""
    scale_floor: float = 0.05
    """Share of the amplitude that the scale has at least."""
    clip: float = 8.0
    """Errors count for at most so many times the scale, distances from the anchor for so many times the amplitude."""
    recent_rate: float = 0.1
    shrink: float = 1e-4
    """Rate at which the range between lowest and highest draws in towards the anchor."""
    range_clip: float = 64.0
    """Amplitudes from the anchor that the range reaches at most."""

    def __post_init__(self) -> None:
        if not self.lags or list(self.lags) != sorted({*self.lags}) or self.lags[0] < 1:
            raise ValueError(f"lags: expected different numbers of steps in increasing order, got {self.lags}")

    @property
    def history(self) -> int:
        """M: length of the history a state keeps."""
        return max(self.lags)

    def repeated(self, times: int) -> tuple[int, ...]:
        """Lags of which the history holds so many periods."""
        return tuple(lag for lag in self.lags if times * lag <= self.history)

    @property
    def experts(self) -> int:
        """K."""
        return 4 + sum(len(self.repeated(times)) for times in (1, 2, 3)) + 1

    @property
    def feature_count(self) -> int:
        """F: two per expert, where it lies and how far it is trusted, and what is known of the stream."""
        return 2 * self.experts + EXTRAS


@dataclass(frozen=True)
class ExpertFeatures:
    """Inputs and target of the network for every step, and the scale to go back to the series' own units."""

    features: Array
    """(N, T, F)"""
    z: Array
    """(N, T): (value − centre) / sigma; NaN where missing or where nothing was observed before."""
    beyond: Array
    """(N, T): scales by which values lie beyond the range of those before; NaN where z is."""
    centre: Array
    """(N, T): the mixture before each step."""
    sigma: Array
    """(N, T): the scale before each step; value = centre + sigma · z."""

    @property
    def target_z(self) -> Array:
        """(N, T): z within ±20."""
        return np.clip(self.z, np.float32(-CLIP), np.float32(CLIP))


@dataclass(frozen=True)
class Foreseen:
    """What is known before a value comes, (N, ·)."""

    foretold: Array
    """(N, K): what each expert foretells, NaN where it cannot."""
    trust: Array
    centre: Array
    scale: Array
    features: Array


def initial_track() -> Array:
    """(10,) of a stream that has seen nothing."""
    return np.zeros(TRACK, np.float32)


def initial_recent() -> Array:
    """(4,) of a stream that has seen nothing."""
    return np.array([0, 0, 1, np.nan], np.float32)


def expert_features(target: Array, settings: ExpertSettings, season: Array | None = None) -> ExpertFeatures:
    """Features, normalised target, centre and scale of N series at once.

    Args:
        target: (N, T) in the series' own units, NaN where missing.
        season: (N,) steps per season, NaN where nobody told it; not told at all without.
    """
    target = np.asarray(target, np.float32)
    series, steps = target.shape
    track, recent = np.tile(initial_track(), (series, 1)), np.tile(initial_recent(), (series, 1))
    errors = np.zeros((2, series, settings.experts), np.float32)
    lagged = lagged_values(target, settings, season)
    features = np.empty((series, steps, settings.feature_count), np.float32)
    rest = np.empty((4, series, steps), np.float32)
    for step in range(steps):
        value = target[:, step, None]
        seen = foresee(track, errors, recent, lagged[:, step], settings)
        z, beyond = outcome(value, track, seen)
        features[:, step] = seen.features
        rest[:, :, step] = z[:, 0], beyond[:, 0], seen.centre[:, 0], seen.scale[:, 0]
        errors = advance_errors(errors, value, track, seen, settings)
        recent = advance_recent(recent, value, track, seen, settings)
        track = advance_track(track, value, settings)
    return ExpertFeatures(features, *rest)


def lagged_values(target: Array, settings: ExpertSettings, season: Array | None) -> Array:
    """(N, T, ·): values one, two and three periods of the lags earlier, and a season; NaN where there is none."""
    lags = [times * lag for times in (1, 2, 3) for lag in settings.repeated(times)]
    seasonal = np.full(target.shape, np.nan, np.float32)
    for index, told in enumerate([] if season is None else np.rint(season)):
        if 1 <= told <= settings.history:
            seasonal[index] = _lagged(target[index : index + 1], int(told))[0]
    return np.stack([*(_lagged(target, lag) for lag in lags), seasonal], -1)


def _lagged(target: Array, lag: int) -> Array:
    values = np.full(target.shape, np.nan, np.float32)
    values[:, lag:] = target[:, : max(target.shape[1] - lag, 0)]
    return values


def foresee(track: Array, errors: Array, recent: Array, lagged: Array, settings: ExpertSettings) -> Foreseen:
    """What the experts and their mixture foretell from a track (N, 10), errors (2, N, K) and recent values (N, 4)."""
    foretold = predictions(track, lagged, settings)
    anchor, fewness = np.abs(track[:, 3:4]), 1 / (track[:, 9:] + np.float32(1))
    amplitude = np.asarray(track[:, 7:8] + anchor * (fewness * fewness * np.float32(2)), np.float32)
    trust = _trust(foretold, errors, amplitude, settings)
    centre = _mixture(foretold, trust, track[:, :1])
    mean, weight, fast, last_z = np.split(recent, RECENT, axis=1)
    prior = np.float32(settings.scale_prior)
    scale = (mean * weight + amplitude * prior) / (weight + prior)
    scale = scale + amplitude * np.float32(settings.scale_floor)
    scale = scale + (anchor * np.float32(LEAST_SHARE) + np.float32(LEAST_SCALE))
    missing = np.isnan(last_z)
    with np.errstate(over="ignore"):
        lie = np.clip((foretold - centre) / scale, np.float32(-CLIP), np.float32(CLIP))
        wide = np.minimum(amplitude / scale, np.float32(CLIP)) * np.float32(0.1)
        within = np.clip((track[:, 4:6] - centre) / scale, np.float32(-CLIP), np.float32(CLIP))
    lie = np.where(np.isnan(foretold), np.float32(0), lie)
    last_z = np.where(missing, np.float32(0), last_z)
    parts = [lie, trust, last_z, missing, fewness, fast, wide, within]
    return Foreseen(foretold, trust, centre, scale, np.concatenate(parts, 1, dtype=np.float32))


def predictions(track: Array, lagged: Array, settings: ExpertSettings) -> Array:
    """(N, K): what each expert foretells, NaN where it cannot, from a track (N, 10) and lagged values (N, ·)."""
    counts = [len(settings.repeated(times)) for times in (1, 2, 3)]
    once, twice, thrice, season = np.split(lagged, np.cumsum(counts), axis=1)
    both, all_three = counts[1], counts[2]  # the shortest lags, since lags come in order
    mean = (once[:, :both] + twice) * np.float32(0.5)
    one, two = once[:, :all_three], twice[:, :all_three]
    median = np.maximum(np.minimum(one, two), np.minimum(np.maximum(one, two), thrice))
    last, levels, change = track[:, :1], track[:, 1:3], track[:, 6:7]
    return np.concatenate([last, last + change, levels, once, mean, median, season], 1)


def _trust(foretold: Array, errors: Array, amplitude: Array, settings: ExpertSettings) -> Array:
    """(N, K): 1 for the expert of the least error, less for the others, 0 for those that cannot be judged yet."""
    error, weight = errors
    ready = ~np.isnan(foretold) & (weight > np.float32(settings.warm))
    ready[:, 0] = True
    judged = np.where(ready, error, np.float32(np.inf))
    floor = amplitude * np.float32(1e-6) + np.float32(LEAST_SCALE)
    return np.asarray((judged.min(1, keepdims=True) + floor) / (judged + floor), np.float32)


def _mixture(foretold: Array, trust: Array, last: Array) -> Array:
    """(N, 1): the experts' predictions, weighed by the sixth power of their trust."""
    square = trust * trust
    weight = square * square * square
    away = np.where(np.isnan(foretold), np.float32(0), foretold - last)
    return np.asarray(last + (weight * away).sum(1, keepdims=True) / weight.sum(1, keepdims=True), np.float32)


def outcome(value: Array, track: Array, seen: Foreseen) -> tuple[Array, Array]:
    """z (N, 1) of a value (N, 1), and by how many scales it lies beyond the range of those before; NaN if unknown."""
    unknown = np.isnan(value) | (track[:, 9:] == 0)
    outside = np.maximum(np.maximum(value - track[:, 4:5], track[:, 5:6] - value), np.float32(0))
    with np.errstate(over="ignore"):
        found = ((value - seen.centre) / seen.scale, outside / seen.scale)
    z, beyond = (np.where(unknown, np.float32(np.nan), part) for part in found)
    return z, beyond


def advance_errors(errors: Array, value: Array, track: Array, seen: Foreseen, settings: ExpertSettings) -> Array:
    """Running errors of the experts and their weights (2, N, K) after one value (N, 1), unchanged where unknown."""
    error, weight = errors
    size = np.abs(value - seen.foretold)
    heavier = weight * np.float32(settings.expert_decay) + np.float32(1)
    counted = np.minimum(size, seen.scale * np.float32(settings.clip))
    after = np.stack([error + (counted - error) / heavier, heavier])
    return np.asarray(np.where(np.isnan(size) | (track[:, 9:] == 0), errors, after))


def advance_recent(recent: Array, value: Array, track: Array, seen: Foreseen, settings: ExpertSettings) -> Array:
    """(N, 4) after one value (N, 1): unchanged where unknown, but for the last z, which then is missing."""
    mean, weight, fast, _ = np.split(recent, RECENT, axis=1)
    error = value - seen.centre
    heavier = weight * np.float32(settings.scale_decay) + np.float32(1)
    size = np.minimum(np.abs(error), seen.scale * np.float32(settings.clip))
    with np.errstate(over="ignore"):
        z = np.clip(error / seen.scale, np.float32(-CLIP), np.float32(CLIP))
    quicker = fast + (np.abs(z) - fast) * np.float32(settings.recent_rate)
    after = np.concatenate([mean + (size - mean) / heavier, heavier, quicker, z], 1)
    gap = np.concatenate([recent[:, :3], np.full_like(fast, np.nan)], 1)
    return np.where(np.isnan(value) | (track[:, 9:] == 0), gap, after)


def advance_track(track: Array, value: Array, settings: ExpertSettings) -> Array:
    """(N, 10) after one value (N, 1), unchanged where it is missing."""
    pulled, _, amplitude, weight, count = np.split(track, [6, 7, 8, 9], axis=1)
    base = np.where(count == 0, value, pulled)
    last, levels, anchor, highest, lowest = np.split(base, [1, 3, 4, 5], axis=1)
    heavier = weight * np.float32(settings.amplitude_decay) + np.float32(1)
    bound = np.where(amplitude > 0, amplitude, np.float32(np.inf))
    near, far = bound * np.float32(settings.clip), bound * np.float32(settings.range_clip)
    away = np.clip(value - anchor, -near, near)
    kept = np.clip(value, anchor - far, anchor + far)
    drawn_in = np.float32(settings.shrink)
    parts = [
        value,
        levels + (value - levels) * np.array(settings.level_rates, np.float32),
        anchor + away / np.minimum(heavier, np.float32(settings.anchor_memory)),
        np.maximum(kept, highest - (highest - anchor) * drawn_in),
        np.minimum(kept, lowest + (anchor - lowest) * drawn_in),
        value - last,
        amplitude + (np.abs(away) - amplitude) / heavier,
        heavier,
        np.minimum(count + 1, np.float32(MOST_COUNTED)),
    ]
    return np.where(np.isnan(value), track, np.concatenate(parts, 1))
