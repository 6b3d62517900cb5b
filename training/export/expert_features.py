"""The features of `training.networks.expert_features` as graph nodes, in the same float32 operations.

They advance one observation at a time, in the body of a Scan, so that a stream may be cut anywhere: that of `observe`
takes values, that of `generate` draws them. Shapes: B batch, T time, K experts, A lagged values, M history.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from training.export.builder import GraphBuilder, Value
from training.networks.expert_features import (
    CLIP,
    LEAST_SCALE,
    LEAST_SHARE,
    MOST_COUNTED,
    PULLED,
    RECENT,
    TRACK,
    ExpertSettings,
)

NAN = float("nan")
INFINITY = float("inf")


class Stream(NamedTuple):
    """What a stream remembers of itself, each (B, ·)."""

    track: Value
    error: Value
    """Running errors of the experts (B, K)."""
    weight: Value
    """Their weights (B, K)."""
    recent: Value

    @staticmethod
    def sizes(settings: ExpertSettings) -> list[int]:
        """How wide each of them is."""
        return [TRACK, settings.experts, settings.experts, RECENT]


class Track(NamedTuple):
    """The parts of a track, each (B, 1) but for the two levels."""

    last: Value
    levels: Value
    anchor: Value
    highest: Value
    lowest: Value
    change: Value
    amplitude: Value
    weight: Value
    counted: Value


class Foreseen(NamedTuple):
    """What is known before a value comes, (B, ·)."""

    track: Track
    unseen: Value
    """Whether nothing has been observed yet (B, 1)."""
    foretold: Value
    trust: Value
    centre: Value
    scale: Value
    features: Value
    """(B, F)"""


def all_lags(settings: ExpertSettings) -> list[int]:
    """The lags of all but the last of A lagged values; the season comes behind them."""
    return [times * lag for times in (1, 2, 3) for lag in settings.repeated(times)]


def foresee(g: GraphBuilder, stream: Stream, lagged: Value, settings: ExpertSettings) -> Foreseen:
    """What the experts and their mixture foretell, and the features, with lagged values (B, A)."""
    track = Track(*g.split(stream.track, [1, 2, 1, 1, 1, 1, 1, 1, 1]))
    foretold = predictions(g, track, lagged, settings)
    nobody = g.node("IsNaN", foretold)
    fewness = g.node("Div", 1.0, g.node("Add", track.counted, 1.0))
    anchor = g.node("Abs", track.anchor)
    share = g.node("Mul", anchor, g.node("Mul", g.node("Mul", fewness, fewness), 2.0))
    amplitude = g.node("Add", track.amplitude, share)
    trust = _trust(g, nobody, stream, amplitude, settings)
    centre = _mixture(g, foretold, nobody, trust, track.last, settings)
    mean, weight, fast, last_z = g.split(stream.recent, [1] * RECENT)
    scale = _scale(g, mean, weight, amplitude, anchor, settings)
    lie = g.node("Where", nobody, 0.0, _clipped(g, foretold, centre, scale))
    missing = g.node("IsNaN", last_z)
    gap = g.node("Where", missing, 1.0, 0.0)
    wide = g.node("Mul", g.node("Min", g.node("Div", amplitude, scale), CLIP), 0.1)
    within = _clipped(g, g.node("Concat", track.highest, track.lowest, axis=-1), centre, scale)
    parts = [lie, trust, g.node("Where", missing, 0.0, last_z), gap, fewness, fast, wide, within]
    unseen = g.node("Equal", track.counted, 0.0)
    return Foreseen(track, unseen, foretold, trust, centre, scale, g.node("Concat", *parts, axis=-1))


def _clipped(g: GraphBuilder, values: Value, centre: Value, scale: Value) -> Value:
    return g.node("Clip", g.node("Div", g.node("Sub", values, centre), scale), -CLIP, CLIP)


def predictions(g: GraphBuilder, track: Track, lagged: Value, settings: ExpertSettings) -> Value:
    """What each expert foretells (B, K), NaN where it cannot."""
    counts = [len(settings.repeated(times)) for times in (1, 2, 3)]
    once, twice, thrice, season = g.split(lagged, [*counts, 1])
    mean = g.node("Mul", g.node("Add", g.slice(once, 0, counts[1], axis=-1), twice), 0.5)
    one, two = (g.slice(values, 0, counts[2], axis=-1) for values in (once, twice))
    median = g.node("Max", g.node("Min", one, two), g.node("Min", g.node("Max", one, two), thrice))
    lacking = g.node("IsNaN", g.node("Add", g.node("Add", one, two), thrice))
    median = g.node("Where", lacking, NAN, median)
    going_on = g.node("Add", track.last, track.change)
    return g.node("Concat", track.last, going_on, track.levels, once, mean, median, season, axis=-1)


def _trust(g: GraphBuilder, nobody: Value, stream: Stream, amplitude: Value, settings: ExpertSettings) -> Value:
    """(B, K): 1 for the expert of the least error, less for the others, 0 for those that cannot be judged yet."""
    ready = g.node("And", g.node("Not", nobody), g.node("Greater", stream.weight, settings.warm))
    ready = g.node("Or", ready, g.constant([True] + [False] * (settings.experts - 1), np.bool_))
    judged = g.node("Where", ready, stream.error, INFINITY)
    floor = g.node("Add", g.node("Mul", amplitude, 1e-6), LEAST_SCALE)
    least = g.node("ReduceMin", judged, g.integers(-1), keepdims=1)
    return g.node("Div", g.node("Add", least, floor), g.node("Add", judged, floor))


def sixth_power(g: GraphBuilder, values: Value) -> Value:
    """v⁶."""
    square = g.node("Mul", values, values)
    return g.node("Mul", g.node("Mul", square, square), square)


def total(g: GraphBuilder, values: Value, settings: ExpertSettings) -> Value:
    """The sum (…, 1) of values (…, K)."""
    # A matrix product with ones: onnxruntime's ReduceSum adds a row in an order that depends on its address.
    return g.node("MatMul", values, g.constant(np.ones((settings.experts, 1))))


def _mixture(
    g: GraphBuilder, foretold: Value, nobody: Value, trust: Value, last: Value, settings: ExpertSettings
) -> Value:
    """(B, 1): the experts' predictions, weighed by the sixth power of their trust."""
    weight = sixth_power(g, trust)
    away = g.node("Where", nobody, 0.0, g.node("Sub", foretold, last))
    mean = g.node("Div", total(g, g.node("Mul", weight, away), settings), total(g, weight, settings))
    return g.node("Add", last, mean)


def _scale(
    g: GraphBuilder, mean: Value, weight: Value, amplitude: Value, anchor: Value, settings: ExpertSettings
) -> Value:
    held = g.node("Add", g.node("Mul", mean, weight), g.node("Mul", amplitude, settings.scale_prior))
    scale = g.node("Div", held, g.node("Add", weight, settings.scale_prior))
    scale = g.node("Add", scale, g.node("Mul", amplitude, settings.scale_floor))
    return g.node("Add", scale, g.node("Add", g.node("Mul", anchor, LEAST_SHARE), LEAST_SCALE))


def outcome(g: GraphBuilder, value: Value, seen: Foreseen) -> tuple[Value, Value]:
    """z (B, 1) of a value (B, 1), and by how many scales it lies beyond the range of those before; NaN if unknown."""
    above, below = g.node("Sub", value, seen.track.highest), g.node("Sub", seen.track.lowest, value)
    outside = g.node("Max", g.node("Max", above, below), 0.0)
    unknown = g.node("Or", g.node("IsNaN", value), seen.unseen)
    error = g.node("Sub", value, seen.centre)
    z, beyond = (g.node("Where", unknown, NAN, g.node("Div", part, seen.scale)) for part in (error, outside))
    return z, beyond


def advance(g: GraphBuilder, stream: Stream, value: Value, seen: Foreseen, settings: ExpertSettings) -> Stream:
    """The stream after one value (B, 1)."""
    missing = g.node("IsNaN", value)
    unknown = g.node("Or", missing, seen.unseen)
    bound = g.node("Mul", seen.scale, settings.clip)
    size = g.node("Abs", g.node("Sub", value, seen.foretold))
    heavier = g.node("Add", g.node("Mul", stream.weight, settings.expert_decay), 1.0)
    moved = g.node("Sub", g.node("Min", size, bound), stream.error)
    moved = g.node("Add", stream.error, g.node("Div", moved, heavier))
    unjudged = g.node("Or", g.node("IsNaN", size), seen.unseen)
    return Stream(
        g.node("Where", missing, stream.track, _advanced_track(g, value, seen, settings)),
        g.node("Where", unjudged, stream.error, moved),
        g.node("Where", unjudged, stream.weight, heavier),
        _advance_recent(g, stream.recent, value, seen, unknown, bound, settings),
    )


def _advance_recent(
    g: GraphBuilder,
    recent: Value,
    value: Value,
    seen: Foreseen,
    unknown: Value,
    bound: Value,
    settings: ExpertSettings,
) -> Value:
    kept, _ = g.split(recent, [RECENT - 1, 1])
    mean, weight, fast = g.split(kept, [1] * (RECENT - 1))
    error = g.node("Sub", value, seen.centre)
    heavier = g.node("Add", g.node("Mul", weight, settings.scale_decay), 1.0)
    off = g.node("Sub", g.node("Min", g.node("Abs", error), bound), mean)
    moved = g.node("Add", mean, g.node("Div", off, heavier))
    z = g.node("Clip", g.node("Div", error, seen.scale), -CLIP, CLIP)
    quicker = g.node("Mul", g.node("Sub", g.node("Abs", z), fast), settings.recent_rate)
    after = g.node("Concat", moved, heavier, g.node("Add", fast, quicker), axis=-1)
    parts = [g.node("Where", unknown, kept, after), g.node("Where", unknown, NAN, z)]
    return g.node("Concat", *parts, axis=-1)


def _advanced_track(g: GraphBuilder, value: Value, seen: Foreseen, settings: ExpertSettings) -> Value:
    track = seen.track
    pulled = g.node("Concat", track.last, track.levels, track.anchor, track.highest, track.lowest, axis=-1)
    base = g.node("Where", seen.unseen, value, pulled)
    last, levels, anchor, highest, lowest = g.split(base, [1, 2, 1, 1, PULLED - 5])
    heavier = g.node("Add", g.node("Mul", track.weight, settings.amplitude_decay), 1.0)
    bound = g.node("Where", g.node("Greater", track.amplitude, 0.0), track.amplitude, INFINITY)
    near, far = g.node("Mul", bound, settings.clip), g.node("Mul", bound, settings.range_clip)
    away = g.node("Min", g.node("Max", g.node("Sub", value, anchor), g.node("Neg", near)), near)
    kept = g.node("Min", g.node("Max", value, g.node("Sub", anchor, far)), g.node("Add", anchor, far))
    nearer = g.node("Mul", g.node("Sub", value, levels), g.constant(settings.level_rates))
    moved = g.node("Add", anchor, g.node("Div", away, g.node("Min", heavier, settings.anchor_memory)))
    upper = g.node("Sub", highest, g.node("Mul", g.node("Sub", highest, anchor), settings.shrink))
    lower = g.node("Add", lowest, g.node("Mul", g.node("Sub", anchor, lowest), settings.shrink))
    wider = g.node("Div", g.node("Sub", g.node("Abs", away), track.amplitude), heavier)
    parts = [
        value,
        g.node("Add", levels, nearer),
        moved,
        g.node("Max", kept, upper),
        g.node("Min", kept, lower),
        g.node("Sub", value, last),
        g.node("Add", track.amplitude, wider),
        heavier,
        g.node("Min", g.node("Add", track.counted, 1.0), MOST_COUNTED),
    ]
    return g.node("Concat", *parts, axis=-1)
