"""The recurrent layers and heads of a forecaster as nodes: of one member, or of several whose quantiles are averaged.

Quantiles, the gaps between them and the tails are linear in the head's x (`training.export.quantile_head`), so the mean
of the members' x is the mean of their quantiles, level by level. What comes before and after is there once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from training.export.builder import GraphBuilder, Value
from training.export.quantile_head import QuantileHeadGraph
from training.export.recurrence import initial_states, recurrent_fields, recurrent_layers, recurrent_sizes
from training.networks.forecaster import Forecaster


class Members:
    """Nodes from features to the mean x of all members. Weights of the second member on have its number in front."""

    def __init__(self, members: Sequence[Forecaster], head: QuantileHeadGraph) -> None:
        self._members = list(members)
        self._head = head
        self.sizes: list[int] = [size for member in members for size in recurrent_sizes(member.recurrence)]
        """Sizes by which the recurrent part of a row is split, in the row's order."""

    def fields(self) -> list[tuple[str, tuple[int, ...]]]:
        """The state fields of all recurrent layers."""
        return [
            (prefix_of(index) + name, shape)
            for index, member in enumerate(self._members)
            for name, shape in recurrent_fields(member.recurrence)
        ]

    def initial(self) -> NDArray[np.float32]:
        """The recurrent part of a row that has seen nothing, in the row's order."""
        return np.concatenate([initial_states(member.recurrence) for member in self._members])

    def x(
        self, g: GraphBuilder, features: Value, states: Sequence[Value], *, one_step: bool
    ) -> tuple[Value, list[Value]]:
        """x (T, B, 2 Q) of features (T, B, F), and the states after them, each (1, B, H); T is 1 with `one_step`."""
        found: list[Value] = []
        after: list[Value] = []
        size = len(states) // len(self._members)
        for index, member in enumerate(self._members):
            own = states[index * size : (index + 1) * size]
            outputs, own_after = recurrent_layers(
                g, member.recurrence, features, own, one_step=one_step, prefix=prefix_of(index)
            )
            raw = _raw(g, member, g.node("Concat", outputs, features, axis=-1), prefix_of(index))
            found.append(self._head.squareplus(g, raw))
            after += own_after
        return mean_of(g, found), after


def _raw(g: GraphBuilder, member: Forecaster, inputs: Value, prefix: str) -> Value:
    """Raw outputs (T, B, Q) of a member's head."""
    matrix = g.weight(f"{prefix}head.matrix", member.head.weight.detach().cpu().to(torch.float32).numpy().T)
    bias = g.constant(member.head.bias.detach().cpu().numpy())
    return g.node("Add", g.node("MatMul", inputs, matrix), bias)


def mean_of(g: GraphBuilder, values: Sequence[Value]) -> Value:
    """The mean of values of one shape."""
    # One operator: a product with a number, onnxruntime would draw into some of the matrix products that follow, and
    # round otherwise there.
    return values[0] if len(values) == 1 else g.node("Mean", *values)


def prefix_of(index: int) -> str:
    """What stands before the names of a member's weights and state fields; nothing before the first one's."""
    return f"member.{index}." if index else ""
