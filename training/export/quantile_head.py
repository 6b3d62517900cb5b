"""The quantile head as graph nodes: the formulas of `training.networks.quantile_head` in few operations.

Everything but √(raw² + 4) of the squareplus and the tails is linear in x = [raw, √(raw² + 4)], so the quantiles,
the gaps between them and the scales of the tails come out of one matrix product.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from training.export.builder import GraphBuilder, Value
from training.networks.anomaly_likelihood import spread_levels
from training.networks.quantile_head import GAP_SCALE, LEAST_GAP, PIT_MARGIN, TAIL_POWER, centre_of

Matrix = NDArray[np.float64]


class QuantileHeadGraph:
    """Nodes for one list of levels. Time and batch are the leading axes of all values, in either order."""

    def __init__(self, levels: Sequence[float]) -> None:
        self._tau: Matrix = np.asarray(levels, np.float64)
        self._count = len(levels)
        self._centre = centre_of(levels)
        self._quantiles = self._linear_quantiles()
        self._widths = self._linear_widths()

    def squareplus(self, g: GraphBuilder, raw: Value) -> Value:
        """x (…, 2 Q) of the raw outputs (…, Q)."""
        root = g.node("Sqrt", g.node("Add", g.node("Mul", raw, raw), 4.0))
        return g.node("Concat", raw, root, axis=-1)

    def distribution(self, g: GraphBuilder, x: Value) -> tuple[Value, Value, Value]:
        """Quantiles (…, Q); then where each piece begins and how wide it is, both (…, Q + 1).

        The pieces are the Q − 1 gaps, the lower tail (of negative width: it runs downwards) and the upper tail.
        """
        anchors = self._quantiles[:, [*range(self._count - 1), 0, self._count - 1]]
        linear = np.concatenate([self._quantiles, anchors, self._widths], 1)
        parts = g.node("Add", g.node("MatMul", x, g.constant(linear[:-1])), g.constant(linear[-1]))
        quantiles, begins, widths = g.split(parts, [self._count, self._count + 1, self._count + 1])
        return quantiles, begins, widths

    def middle(self, g: GraphBuilder, x: Value) -> tuple[Value, Value, Value]:
        """The median, and how far the quantiles of `spread_levels` lie below and above it, all (…, 1)."""
        low, centre, high = spread_levels(self._tau.tolist())
        quantiles = self._quantiles
        linear = np.stack(
            [
                quantiles[:, centre],
                quantiles[:, centre] - quantiles[:, low],
                quantiles[:, high] - quantiles[:, centre],
            ],
            1,
        )
        # The constants come after the split: onnxruntime would make one operator of a product and what is added to it
        # where x has two axes, as in a Scan, and round otherwise than where it has three.
        middle, below, above = g.split(g.node("MatMul", x, g.constant(linear[:-1])), [1, 1, 1])
        below, above = (
            g.node("Add", part, float(more)) for part, more in zip((below, above), linear[-1, 1:], strict=True)
        )
        return middle, below, above

    def pit(self, g: GraphBuilder, begins: Value, widths: Value, z: Value) -> Value:
        """How much of the distribution lies below z (…, 1): (…, 1), inside (0, 1)."""
        tau, inner = self._tau, self._count - 1
        share, tails = g.split(g.node("Div", g.node("Sub", z, begins), widths), [inner, 2])
        further = g.node("Add", g.node("Max", tails, 0.0), 1.0)
        fourth = g.node("Mul", *[g.node("Mul", further, further)] * 2)
        pieces = g.node("Concat", g.node("Clip", share, 0.0, 1.0), g.node("Div", 1.0, fourth), axis=-1)
        mass = np.array([*np.diff(tau), tau[0], tau[-1] - 1])
        probability = g.node("Add", g.node("MatMul", pieces, g.constant(mass[:, None])), float(1 - tau[-1]))
        return g.node("Clip", probability, PIT_MARGIN, 1 - PIT_MARGIN)

    def draws(self, g: GraphBuilder, uniforms: Value) -> tuple[Value, Value]:
        """Coefficients (…, 2 Q) and offset (…, 1) that turn x into the quantile function at uniforms (…, 1).

        z = Σ coefficient · x + offset; the coefficients depend on the uniforms alone, so they are computed for
        all steps at once, before the first of them is taken.
        """
        tau, inner = self._tau, self._count - 1
        share = g.node("Div", g.node("Sub", uniforms, g.constant(tau[:-1])), g.constant(np.diff(tau)))
        outer = g.constant([tau[0], 1 - tau[-1]])
        both = g.node("Add", g.node("Mul", uniforms, g.constant([1.0, -1.0])), g.constant([0.0, 1.0]))
        root = g.node("Sqrt", g.node("Sqrt", g.node("Div", outer, g.node("Min", both, outer))))
        pieces = g.node("Concat", g.node("Clip", share, 0.0, 1.0), g.node("Sub", root, 1.0), axis=-1)
        assert self._widths.shape[1] == inner + 2
        product = g.node("MatMul", pieces, g.constant(self._widths.T))  # (…, 2 Q + 1), the offset last
        linear = g.node("Add", product, g.constant(self._quantiles[:, 0]))
        coefficients, offset = g.split(linear, [2 * self._count, 1])
        return coefficients, offset

    def value(self, g: GraphBuilder, x: Value, coefficients: Value, offset: Value) -> Value:
        """z (…, 1): the value drawn from the distribution of x."""
        # A matrix product with ones: onnxruntime's ReduceSum adds a row in an order that depends on its address.
        total = g.node("MatMul", g.node("Mul", x, coefficients), g.constant(np.ones((2 * self._count, 1))))
        return g.node("Add", total, offset)

    def _gap(self, index: int) -> Matrix:
        """The gap above quantile `index`, linear in (x, 1)."""
        row = np.zeros(2 * self._count + 1)
        source = index if index < self._centre else index + 1
        row[source] = row[self._count + source] = GAP_SCALE / 2
        row[-1] = LEAST_GAP
        return row

    def _linear_quantiles(self) -> Matrix:
        """(2 Q + 1, Q): each quantile, linear in (x, 1)."""
        columns = np.zeros((2 * self._count + 1, self._count))
        columns[self._centre] = 1
        for index in range(self._centre + 1, self._count):
            columns[:, index] = columns[:, index - 1] + self._gap(index - 1)
        for index in range(self._centre - 1, -1, -1):
            columns[:, index] = columns[:, index + 1] - self._gap(index)
        return columns

    def _linear_widths(self) -> Matrix:
        """(2 Q + 1, Q + 1): each gap, then the scale of the lower tail, negated, and of the upper, linear in (x, 1)."""
        gaps = [self._gap(index) for index in range(self._count - 1)]
        slopes = [gap / step for gap, step in zip(gaps, np.diff(self._tau), strict=True)]
        lower, upper = TAIL_POWER * self._tau[0] * slopes[0], TAIL_POWER * (1 - self._tau[-1]) * slopes[-1]
        return np.stack([*gaps, -lower, upper], 1)
