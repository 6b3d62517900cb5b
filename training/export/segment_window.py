"""Windows on their own scale as graph nodes: `on_its_own_scale` of `training.networks.segment_forecaster`.

Sums are matrix products with ones: onnxruntime's ReduceSum adds a row in an order that depends on its address.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.export.builder import GraphBuilder, Value
from training.networks.causal_features import CLIP, LEAST_SCALE
from training.networks.segment_forecaster import Centring


@dataclass(frozen=True)
class Scaled:
    """Windows (N, W) measured in themselves: value = origin + scale · z."""

    z: Value
    """(N, W), 0 where missing."""
    observed: Value
    """(N, W), 1 where the value was observed, 0 where not."""
    origin: Value
    """(N, 1)"""
    scale: Value
    """(N, 1)"""
    unseen: Value
    """(N, 1), whether the window holds no value at all."""


def scaled(g: GraphBuilder, window: Value, length: int, centring: Centring) -> Scaled:
    """Windows (N, W) of `length` values, NaN where missing, on their own scale."""
    missing = g.node("IsNaN", window)
    observed = g.node("Where", missing, 0.0, 1.0)
    ones = g.constant(np.ones((length, 1)))
    count = g.node("MatMul", observed, ones)
    many = g.node("Max", count, 1.0)
    known = g.node("Where", missing, 0.0, window)
    newest = g.node("ArgMax", g.node("Mul", observed, g.constant(np.arange(1, length + 1))), axis=1)
    last = g.node("GatherElements", known, newest, axis=1)
    apart = g.node("Where", missing, 0.0, g.node("Sub", window, last))
    mean = g.node("Div", g.node("MatMul", apart, ones), many)
    away = g.node("Where", missing, 0.0, g.node("Abs", g.node("Sub", apart, mean)))
    # One product of both parts: what is added to a product, onnxruntime may or may not make one operator of, and
    # rounds otherwise when it does.
    size = g.node("Mul", g.node("Abs", known), g.node("Div", 0.5, many))
    held_up = g.node("MatMul", g.node("Add", away, size), ones)
    scale = g.node("Max", g.node("Div", held_up, g.node("Add", count, 2.0)), LEAST_SCALE)
    centred, origin = apart, last
    if centring == "mean":
        centred, origin = g.node("Sub", apart, mean), g.node("Add", last, mean)
    z = g.node("Clip", g.node("Div", centred, scale), -CLIP, CLIP)
    return Scaled(g.node("Where", missing, 0.0, z), observed, origin, scale, g.node("Equal", count, 0.0))


def windows_over(g: GraphBuilder, history: Value, target: Value, length: int) -> Value:
    """The windows before each step of target (B, T), (B · T, W), of a history (B, W + T) that ends with it."""
    steps = g.node("Squeeze", g.node("Shape", target, start=1, end=2))
    first = g.node("Range", g.constant(0, np.int64), steps, g.constant(1, np.int64))
    places = g.node("Add", g.node("Unsqueeze", first, g.integers(1)), g.integers(*range(length)))  # (T, W)
    return g.node("Reshape", g.node("Gather", history, places, axis=1), g.integers(-1, length))
