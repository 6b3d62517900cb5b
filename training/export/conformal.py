"""The conformal adjustment of `training.networks.conformal` as graph nodes, in the same float32 operations.

A stream's memory is one value (…, 2): what the gaps between quantiles are multiplied by below and above the median.
Any forecaster's graphs can hold it: it takes distances, not a network.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.export.builder import GraphBuilder, Value
from training.networks.conformal import FACTORS, NARROWEST, WIDEST, multipliers


def stretch(g: GraphBuilder, factors: Value, away: Value) -> Value:
    """Distances (…, K) from the median, each multiplied by the factor (…, 2) of its side."""
    return g.node("Mul", away, _factor_of(g, factors, away))


def relax(g: GraphBuilder, factors: Value, away: Value) -> Value:
    """Distances (…, K) from the median, each divided by the factor (…, 2) of its side: the inverse of `stretch`."""
    return g.node("Div", away, _factor_of(g, factors, away))


def _factor_of(g: GraphBuilder, factors: Value, away: Value) -> Value:
    lower, upper = g.split(factors, [1, 1])
    return g.node("Where", g.node("Less", away, 0.0), lower, upper)


def advance_over(
    g: GraphBuilder,
    factors: Value,
    error: Value,
    below: Value,
    above: Value,
    levels: Sequence[float],
    rate: float,
) -> tuple[Value, Value]:
    """Factors (B, 2) after errors (B, T, 1), and those before each of them (B, T, 2); arguments as of `advance`."""
    step = g.body("conformal")
    before = step.input("factors", ("B", FACTORS))
    e, b, a = (step.input(name, ("B", 1)) for name in ("error", "below", "above"))
    step.output(advance(step, before, e, b, a, levels, rate), ("B", FACTORS))
    step.output(step.node("Identity", before), ("B", FACTORS))
    after, every = g.scan(step, [factors], [error, below, above])
    return after, every


def advance(
    g: GraphBuilder,
    factors: Value,
    error: Value,
    below: Value,
    above: Value,
    levels: Sequence[float],
    rate: float,
) -> Value:
    """Factors (B, 2) after one value, unchanged where it is missing.

    Args:
        error: (B, 1), value less median, in any unit; NaN where missing or where nothing was foretold.
        below: (B, 1), median less the lower quantile of `spread_levels`, before it was adjusted.
        above: (B, 1), the upper one less median, before it was adjusted.
    """
    hit, missed = multipliers(levels, rate)
    away = g.node("Mul", error, g.constant(np.array([-1.0, 1.0])))
    reach = g.node("Mul", factors, g.node("Concat", below, above, axis=-1))
    by = g.node("Where", g.node("Greater", away, reach), g.constant(missed), g.constant(hit))
    moved = g.node("Clip", g.node("Mul", factors, by), NARROWEST, WIDEST)
    return g.node("Where", g.node("IsNaN", error), factors, moved)
