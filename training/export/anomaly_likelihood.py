"""The anomaly likelihood of `training.networks.anomaly_likelihood` as graph nodes, in the same float32 operations.

A stream's memory is one value (…, 6). It advances one observation at a time, in a Scan, so that a stream may be cut
anywhere. Any forecaster's graphs can hold it: it takes distances, not a network.
"""

from __future__ import annotations

from collections.abc import Sequence

from training.export.builder import GraphBuilder, Value
from training.networks.anomaly_likelihood import MEMORY, AnomalySettings, spread_share


def surprise(
    g: GraphBuilder,
    error: Value,
    below: Value,
    above: Value,
    levels: Sequence[float],
    settings: AnomalySettings,
    beyond: Value | None = None,
) -> Value:
    """How surprising values are (…, 1), NaN where the error is.

    Args:
        error: (…, 1), value less median, in units of the scale; NaN where missing or where nothing was foretold.
        below: (…, 1), median less the lower quantile of `spread_levels`.
        above: (…, 1), the upper one less median.
        beyond: (…, 1), by how many scales values lie outside of what the stream has had before; 0 without.
    """
    spread = g.node("Mul", g.node("Add", below, above), spread_share(levels) * settings.share)
    away = g.node("Div", g.node("Abs", error), g.node("Add", spread, settings.floor))
    return away if beyond is None else g.node("Add", away, g.node("Mul", beyond, settings.excess))


def score_over(g: GraphBuilder, memory: Value, surprise: Value, settings: AnomalySettings) -> tuple[Value, Value]:
    """Memory (B, 6) after surprises (B, T, 1), and the score (B, T, 1) of each, NaN where the surprise is."""
    fourth = _fourth_power(g, surprise, settings)
    step = g.body("anomaly")
    before = step.input("memory", ("B", MEMORY))
    size = step.input("fourth", ("B", 1))
    step.output(_advance(step, before, size, settings), ("B", MEMORY))
    step.output(step.node("Identity", before), ("B", MEMORY))
    after, every = g.scan(step, [memory], [fourth])
    weight, mean, peak, _, usual = g.split(every, [1, 1, 1, 2, 1])
    relative = g.node("Div", fourth, mean)
    score = g.node("Max", g.node("Sub", 1.0, g.node("Div", usual, relative)), 0.0)
    score = g.node("Where", _told(g, relative, peak, weight, settings), score, 0.0)
    return after, g.node("Where", g.node("IsNaN", surprise), surprise, score)


def advance(g: GraphBuilder, memory: Value, surprise: Value, settings: AnomalySettings) -> Value:
    """Memory (B, 6) after one surprise (B, 1), unchanged where it is NaN."""
    return _advance(g, memory, _fourth_power(g, surprise, settings), settings)


def _told(g: GraphBuilder, relative: Value, peak: Value, weight: Value, settings: AnomalySettings) -> Value:
    """Whether a surprise counts: it exceeds the last that did, and the stream is warm."""
    warm = g.node("GreaterOrEqual", weight, settings.warm_weight)
    return g.node("And", g.node("Greater", relative, peak), warm)


def _fourth_power(g: GraphBuilder, surprise: Value, settings: AnomalySettings) -> Value:
    size = g.node("Min", surprise, settings.cap)
    square = g.node("Mul", size, size)
    return g.node("Mul", square, square)


def _advance(g: GraphBuilder, memory: Value, fourth: Value, settings: AnomalySettings) -> Value:
    seen, before, peak, _, _, usual = g.split(memory, [1] * MEMORY)
    # What grows by one, and what it falls by before that: the two weights and the age.
    growing = g.constant([settings.decay, 1, 1, 1, settings.peak_decay, 1])
    grown = g.node("Add", g.node("Mul", memory, growing), 1.0)
    weight, _, _, older, peak_weight, _ = g.split(grown, [1] * MEMORY)
    mean = _towards(g, before, fourth, settings.clip, weight)
    relative = g.node("Div", fourth, before)
    told = _told(g, relative, peak, seen, settings)
    older = g.node("Min", older, float(settings.rest))
    resting = g.node("Less", older, float(settings.rest))
    faded = g.node("Where", resting, peak, g.node("Mul", peak, settings.fade))
    peak = g.node("Where", told, relative, faded)
    age = g.node("Where", told, 0.0, older)
    usual = _towards(g, usual, peak, settings.peak_clip, peak_weight)
    mean, usual = g.node("Max", mean, settings.least**4), g.node("Max", usual, 1.0)
    after = g.node("Concat", weight, mean, peak, age, peak_weight, usual, axis=-1)
    return g.node("Where", g.node("IsNaN", fourth), memory, after)


def _towards(g: GraphBuilder, mean: Value, value: Value, clip: float, weight: Value) -> Value:
    """A running mean (B, 1) after one more value, which counts for at most clip⁴ times the mean."""
    counted = g.node("Min", value, g.node("Mul", mean, clip**4))
    return g.node("Add", mean, g.node("Div", g.node("Sub", counted, mean), weight))
