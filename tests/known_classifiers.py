"""The graphs of a classifier whose answers are arithmetic.

Token counts (classify). The row is how often each class came, token t being of class t mod C; the probability of a
class is its count and 1, divided by all counts and C.
"""

from __future__ import annotations

import numpy as np
from onnx import ModelProto

from tests.known_graphs import constant, external, floats, model_of, node, tokens


def token_counts_initial(classes: int) -> ModelProto:
    row = constant("row", np.zeros((1, classes), np.float32))
    return model_of([node("Identity", "row", "state")], [], [floats("state", 1, classes)], [row])


def token_counts_observe(classes: int) -> ModelProto:
    nodes = [
        node("Mod", "tokens classes", "class"),  # (B, T)
        node("OneHot", "class classes off_on", "hits", axis=-1),  # (B, T, C)
        node("CumSum", "hits axis", "counted"),
        node("Unsqueeze", "state axis1", "before"),
        node("Add", "counted before", "counts"),
        node("Add", "counts one", "more"),
        node("ReduceSum", "more axis2", "total", keepdims=1),
        node("Div", "more total", "probabilities"),
        node("Slice", "counts last end axis1", "after"),
        node("Squeeze", "after axis1", "next_state"),
    ]
    constants = [
        external("one", [1]),
        constant("classes", np.array(classes)),
        constant("off_on", np.array([0, 1], np.float32)),
        constant("axis", np.array(1)),
        *(constant(name, [value]) for name, value in (("axis1", 1), ("axis2", 2), ("last", -1), ("end", 2**62))),
    ]
    outputs = [floats("probabilities", "B", "T", classes), floats("next_state", "B", classes)]
    return model_of(nodes, [floats("state", "B", classes), tokens("tokens", "B", "T")], outputs, constants)
