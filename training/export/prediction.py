"""What a head's x says of one step: quantiles, pit and anomaly score of the value that came, or a value to draw.

Everything here is on the scale of the features, z. Beside it lies what the stream remembers of how well it was
foretold: its anomaly memory, and where a rate is set the conformal factors that its quantiles are widened by.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from training.export import anomaly_likelihood as anomaly
from training.export import conformal
from training.export.builder import GraphBuilder, Value
from training.export.quantile_head import QuantileHeadGraph
from training.networks.anomaly_likelihood import MEMORY, AnomalySettings, Array, initial_memory
from training.networks.conformal import FACTORS

NAN = float("nan")


class Judged(NamedTuple):
    """What was foretold of each value, on the scale of the features, and what it turned out to be."""

    quantiles: Value
    """(B, T, Q)"""
    pit: Value
    """(B, T, 1)"""
    score: Value
    """(B, T, 1)"""
    memory: list[Value]
    """As it is after the last step."""


class PredictionGraph:
    """Nodes for one list of levels and one way to score.

    Args:
        rate: of the conformal adjustment; none with 0.
    """

    def __init__(
        self, levels: tuple[float, ...], head: QuantileHeadGraph, settings: AnomalySettings, rate: float
    ) -> None:
        self._levels = levels
        self._head = head
        self._settings = settings
        self._rate = rate
        self.fields: list[tuple[str, tuple[int, ...]]] = [("anomaly", (MEMORY,))]
        """What a stream remembers, as fields of the state row; a memory is a list of their values."""
        if rate:
            self.fields.append(("conformal", (FACTORS,)))

    @property
    def sizes(self) -> list[int]:
        """Sizes of the fields."""
        return [shape[0] for _, shape in self.fields]

    def initial(self) -> Array:
        """The memory of a stream that has seen nothing, in the row's order."""
        factors = np.ones(FACTORS if self._rate else 0, np.float32)
        return np.concatenate([initial_memory(self._settings), factors])

    def judge(
        self,
        g: GraphBuilder,
        x: Value,
        z: Value,
        unknown: Value,
        memory: list[Value],
        beyond: Value | None = None,
        location: Value | None = None,
    ) -> Judged:
        """What x (B, T, 2 Q) says of values z (B, T, 1), of which the `unknown` ones are missing or not foretold.

        Those that lie `beyond` (B, T, 1) what the stream has had before are the more surprising. Of a network that
        shifts its quantiles, z is what is left without the `location` (B, T, 1).
        """
        quantiles, begins, widths = self._head.distribution(g, x)
        middle, below, above = self._head.middle(g, x)
        error = g.node("Where", unknown, NAN, g.node("Sub", z, middle))
        away = self._from_habit(g, error, middle, location)
        surprise = anomaly.surprise(g, away, below, above, self._levels, self._settings, beyond)
        after, score = anomaly.score_over(g, memory[0], surprise, self._settings)
        memory_after = [after]
        if self._rate:
            last, factors = conformal.advance_over(g, memory[1], error, below, above, self._levels, self._rate)
            memory_after.append(last)
            away = conformal.stretch(g, factors, g.node("Sub", quantiles, middle))
            quantiles = g.node("Add", middle, away)
            z = g.node("Add", middle, conformal.relax(g, factors, g.node("Sub", z, middle)))
        pit = g.node("Where", unknown, NAN, self._head.pit(g, begins, widths, z))
        return Judged(quantiles, pit, score, memory_after)

    def foretell(self, g: GraphBuilder, x: Value, memory: list[Value]) -> Value:
        """Quantiles (B, P, Q) of steps of which x (B, P, 2 Q) tells."""
        quantiles, _, _ = self._head.distribution(g, x)
        if not self._rate:
            return quantiles
        middle, _, _ = self._head.middle(g, x)
        factors = g.node("Unsqueeze", memory[1], g.integers(1))
        return g.node("Add", middle, conformal.stretch(g, factors, g.node("Sub", quantiles, middle)))

    def draw(self, g: GraphBuilder, x: Value, coefficients: Value, offset: Value, memory: list[Value]) -> Value:
        """z (B, 1), drawn from the distribution of x (B, 2 Q); coefficients and offset are those of the head."""
        z = self._head.value(g, x, coefficients, offset)
        if not self._rate:
            return z
        middle, _, _ = self._head.middle(g, x)
        return g.node("Add", middle, conformal.stretch(g, memory[1], g.node("Sub", z, middle)))

    def take_in(
        self,
        g: GraphBuilder,
        x: Value,
        z: Value,
        memory: list[Value],
        beyond: Value | None = None,
        location: Value | None = None,
    ) -> list[Value]:
        """The memory after one value z (B, 1), NaN where nothing was foretold, of which x (B, 2 Q) told.

        z comes from the value in the series' own units, as `judge` has it, so that memories agree in every bit.
        """
        middle, below, above = self._head.middle(g, x)
        error = g.node("Sub", z, middle)
        away = self._from_habit(g, error, middle, location)
        surprise = anomaly.surprise(g, away, below, above, self._levels, self._settings, beyond)
        after = [anomaly.advance(g, memory[0], surprise, self._settings)]
        if self._rate:
            after.append(conformal.advance(g, memory[1], error, below, above, self._levels, self._rate))
        return after

    def _from_habit(self, g: GraphBuilder, error: Value, middle: Value, location: Value | None) -> Value:
        """Errors (…, 1) measured from between the median and the stream's habit, which is 0."""
        if not self._settings.habit:
            return error
        median = middle if location is None else g.node("Add", middle, location)
        return g.node("Add", error, g.node("Mul", median, self._settings.habit))
