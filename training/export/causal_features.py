"""The features of `training.networks.causal_features` as graph nodes, in the same float32 operations.

The running statistics are one value (…, 3): weight, mean, mean absolute deviation. They advance one observation
at a time, in a Scan, so that a stream may be cut anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from training.export.builder import GraphBuilder, Value
from training.networks.causal_features import CLIP, LEAST_SCALE, LOG_CLIP, LOG_ROOTS
from training.networks.forecaster import ForecasterSettings

STATISTICS = 3


@dataclass(frozen=True)
class Scale:
    """The statistics apart, each (…, 1), with what follows from them."""

    weight: Value
    mean: Value
    deviation: Value
    unseen: Value
    """Whether nothing has been observed yet."""


def open_scale(g: GraphBuilder, statistics: Value) -> Scale:
    """The parts of statistics (…, 3)."""
    weight, mean, deviation = g.split(statistics, [1, 1, 1])
    return Scale(weight, mean, deviation, g.node("Equal", weight, 0.0))


def sigma(g: GraphBuilder, scale: Scale) -> Value:
    """The scale σ (…, 1)."""
    spread = g.node("Mul", scale.weight, scale.deviation)
    spread = g.node("Add", spread, g.node("Mul", g.node("Abs", scale.mean), 0.5))
    return g.node("Max", g.node("Div", spread, g.node("Add", scale.weight, 2.0)), LEAST_SCALE)


def advance(g: GraphBuilder, statistics: Value, scale: Scale, value: Value, decay: float) -> Value:
    """Statistics (B, 3) after one more value (B, 1), unchanged where it is missing."""
    error = g.node("Sub", value, scale.mean)
    size = g.node("Where", scale.unseen, 0.0, g.node("Abs", error))
    weight = g.node("Add", g.node("Mul", scale.weight, decay), 1.0)
    mean = g.node("Add", scale.mean, g.node("Div", error, weight))
    deviation = g.node("Add", scale.deviation, g.node("Div", g.node("Sub", size, scale.deviation), weight))
    after = g.node("Concat", weight, mean, deviation, axis=-1)
    return g.node("Where", g.node("IsNaN", value), statistics, after)


def advance_over(g: GraphBuilder, statistics: Value, target: Value, decay: float) -> tuple[Value, Value]:
    """Statistics (B, 3) after target (B, T, 1), and those before each of its steps (B, T, 3)."""
    step = g.body("statistics")
    before = step.input("statistics", ("B", STATISTICS))
    value = step.input("value", ("B", 1))
    step.output(advance(step, before, open_scale(step, before), value, decay), ("B", STATISTICS))
    step.output(step.node("Identity", before), ("B", STATISTICS))
    after, every = g.scan(step, [statistics], [target])
    return after, every


def lag_features(g: GraphBuilder, values: Value, scale: Scale, sigma: Value) -> list[Value]:
    """Of lagged values (…, lags): normalised, 0 where missing; and whether observed, 1 or 0."""
    missing = g.node("IsNaN", values)
    filled = g.node("Where", missing, scale.mean, values)
    z = g.node("Div", g.node("Sub", filled, scale.mean), sigma)
    return [g.node("Clip", z, -CLIP, CLIP), g.node("Where", missing, 0.0, 1.0)]


def age_feature(g: GraphBuilder, scale: Scale) -> Value:
    """How far the scale can be trusted (…, 1): 1 at first, towards 0 with every observation."""
    return g.node("Div", 1.0, g.node("Add", scale.weight, 1.0))


def log_scale_feature(g: GraphBuilder, sigma: Value, standard: tuple[float, float]) -> Value:
    """The logarithm of a scale (…, 1), less the mean and over the deviation given."""
    root = sigma
    for _ in range(LOG_ROOTS):
        root = g.node("Sqrt", root)
    logarithm = g.node("Mul", g.node("Sub", root, 1.0), float(2**LOG_ROOTS))
    standardised = g.node("Div", g.node("Sub", logarithm, standard[0]), standard[1])
    return g.node("Clip", standardised, -LOG_CLIP, LOG_CLIP)


def covariate_features(g: GraphBuilder, covariates: Value, settings: ForecasterSettings) -> Value:
    """Covariates (B, T, K) standardised, 0 where missing."""
    mean = g.constant([scale.mean for scale in settings.covariates])
    std = g.constant([scale.std for scale in settings.covariates])
    standardised = g.node("Div", g.node("Sub", covariates, mean), std)
    return g.node("Where", g.node("IsNaN", standardised), 0.0, standardised)


def static_features(g: GraphBuilder, static: Value, settings: ForecasterSettings) -> Value:
    """Static covariates (B, D_in) encoded as (B, D): numbers standardised, categories one-hot."""
    source, numeric, mean, std, category = [], [], [], [], []
    for index, encoding in enumerate(settings.static):
        for column in range(encoding.width):
            source.append(index)
            numeric.append(encoding.categories is None)
            mean.append(encoding.mean if encoding.categories is None else 0.0)
            std.append(encoding.std if encoding.categories is None else 1.0)
            category.append(float(column))
    columns = g.node("Gather", static, g.integers(*source), axis=1)
    number = g.node("Div", g.node("Sub", columns, g.constant(mean)), g.constant(std))
    number = g.node("Where", g.node("IsNaN", number), 0.0, number)
    one_hot = g.node("Cast", g.node("Equal", columns, g.constant(category)), to=TensorProto.FLOAT)
    return g.node("Where", g.constant(numeric, np.bool_), number, one_hot)
