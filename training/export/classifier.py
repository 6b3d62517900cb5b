"""The two graphs of a classifier: `initial` and `observe`, over token ids.

Shapes: B batch, T time, S state width, V vocabulary, E embedding, H hidden, C classes. The state row is that of the
recurrence alone: a class is told after a token was taken in, so that no input is pending.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from service.contract.manifest import GraphName
from training.export.builder import GraphBuilder, Value, Weights
from training.export.exported import Exported, save_export, state_layout
from training.export.recurrence import (
    close_states,
    open_states,
    recurrent_fields,
    recurrent_layers,
    recurrent_sizes,
)
from training.networks.classifier import Classifier


def export_classifier(network: Classifier, folder: Path) -> Exported:
    """Write initial.onnx, observe.onnx and weights.bin of a trained network into `folder`, made where need be."""
    weights = Weights()
    layout = state_layout(recurrent_fields(network.recurrence))
    graphs: dict[GraphName, GraphBuilder] = {
        "initial": _initial(weights, layout.width),
        "observe": _observe(network, weights, layout.width),
    }
    return save_export(folder, graphs, weights, layout, network.recurrence.cell, {})


def _initial(weights: Weights, width: int) -> GraphBuilder:
    """Zeros."""
    g = GraphBuilder("initial", weights)
    g.node("Identity", g.constant(np.zeros((1, width), np.float32)), output="state")
    g.output("state", (1, width))
    return g


def _observe(network: Classifier, weights: Weights, width: int) -> GraphBuilder:
    """How likely each class is after each token, and the state with all of them taken in."""
    g = GraphBuilder("observe", weights)
    states = open_states(g, g.split(g.input("state", ("B", width)), recurrent_sizes(network.recurrence)))
    tokens = g.node("Transpose", g.input("tokens", ("B", "T"), "int64"), perm=[1, 0])  # (T, B)
    embedded = g.node("Gather", g.weight("embedding", _values(network.embedding.weight)), tokens, axis=0)
    outputs, states = recurrent_layers(g, network.recurrence, embedded, states, one_step=False)  # (T, B, H)
    by_row = g.node("Transpose", _probabilities(g, network, outputs), perm=[1, 0, 2], output="probabilities")
    g.output(by_row, ("B", "T", network.classes))
    g.node("Concat", *close_states(g, states), axis=1, output="next_state")
    g.output("next_state", ("B", width))
    return g


def _probabilities(g: GraphBuilder, network: Classifier, outputs: Value) -> Value:
    logits = g.node("MatMul", outputs, g.weight("output.matrix", _values(network.output.weight).T))
    biased = g.node("Add", logits, g.weight("output.bias", _values(network.output.bias)))
    return g.node("Softmax", biased, axis=-1)  # (T, B, C)


def _values(parameter: Tensor) -> NDArray[np.float32]:
    return np.asarray(parameter.detach().cpu().float().numpy(), np.float32)
