"""Recurrent layers as ONNX's standard RNN, LSTM and GRU operators, and their part of the state row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from training.export.builder import GraphBuilder, Value
from training.networks.recurrence import GATES, Cell, Recurrence

# Which of PyTorch's gates stands where in ONNX: RNN h; LSTM i f g o → i o f c; GRU r z n → z r h.
GATE_ORDER: dict[Cell, tuple[int, ...]] = {"RNN": (0,), "LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2)}


def recurrent_fields(recurrence: Recurrence) -> list[tuple[str, tuple[int, ...]]]:
    """The state fields of the layers: hidden, and for an LSTM cell, each (L, H)."""
    names = ("hidden", "cell") if recurrence.cell == "LSTM" else ("hidden",)
    return [(name, (recurrence.layers, recurrence.hidden_size)) for name in names]


def initial_states(recurrence: Recurrence) -> NDArray[np.float32]:
    """The recurrent part of a row that has seen nothing, in the row's order."""
    return np.concatenate([part.detach().cpu().numpy().ravel() for part in recurrence.initial_state(1)])


def recurrent_sizes(recurrence: Recurrence) -> list[int]:
    """Sizes by which a row is split into one part per field and layer, in the row's order."""
    return [recurrence.hidden_size] * (recurrence.layers * len(recurrent_fields(recurrence)))


def open_states(g: GraphBuilder, parts: Sequence[Value]) -> list[Value]:
    """Parts of rows (B, H) in the shape that the operators take, (1, B, H)."""
    return [g.node("Unsqueeze", part, g.integers(0)) for part in parts]


def close_states(g: GraphBuilder, states: Sequence[Value]) -> list[Value]:
    """States (1, B, H) as parts of rows (B, H)."""
    return [g.node("Squeeze", state, g.integers(0)) for state in states]


def recurrent_layers(
    g: GraphBuilder,
    recurrence: Recurrence,
    inputs: Value,
    states: Sequence[Value],
    *,
    one_step: bool,
    prefix: str = "",
) -> tuple[Value, list[Value]]:
    """Run the layers over inputs (T, B, I): outputs (T, B, H) and the states after them, each (1, B, H).

    With `one_step` T is 1, and the last hidden state is the output: a reshaping less. The `prefix` keeps the weights'
    names apart where a graph has several recurrences.
    """
    layers, lstm = recurrence.layers, recurrence.cell == "LSTM"
    hidden, memory = list(states[:layers]), list(states[layers:])
    attributes = {"hidden_size": recurrence.hidden_size}
    if recurrence.cell == "GRU":
        attributes["linear_before_reset"] = 1  # as PyTorch has it; 0 is another function
    for layer in range(layers):
        operands = [inputs, *recurrent_weights(g, recurrence.rnn, recurrence.cell, layer, prefix), "", hidden[layer]]
        if lstm:
            operands.append(memory[layer])
        unused = [0] if one_step else []
        every, *last = g.nodes(recurrence.cell, *operands, outputs=3 if lstm else 2, unused=unused, **attributes)
        hidden[layer] = last[0]
        if lstm:
            memory[layer] = last[1]
        outputs = last[0] if one_step else g.node("Squeeze", every, g.integers(1))
        inputs = g.node("Add", outputs, inputs) if recurrence.residual and layer else outputs
    return inputs, hidden + memory


def recurrent_weights(g: GraphBuilder, rnn: nn.RNNBase, cell: Cell, layer: int = 0, prefix: str = "") -> list[Value]:
    """Of a layer, W (1, gates·H, I), R (1, gates·H, H) and the two biases in one, B (1, 2·gates·H)."""
    parts = [
        _reordered(getattr(rnn, f"{name}_l{layer}"), cell) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ]
    return [
        g.weight(f"{prefix}recurrence.{layer}.W", parts[0][None]),
        g.weight(f"{prefix}recurrence.{layer}.R", parts[1][None]),
        g.weight(f"{prefix}recurrence.{layer}.B", np.concatenate(parts[2:])[None]),
    ]


def _reordered(parameter: torch.Tensor, cell: Cell) -> NDArray[np.float32]:
    blocks = np.split(parameter.detach().cpu().numpy(), GATES[cell])
    return np.concatenate([blocks[gate] for gate in GATE_ORDER[cell]])
