"""The trained weights of a published model, read back from its graph: `training.export` the other way round."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn

from training.errors import TrainingError
from training.export.recurrence import GATE_ORDER
from training.networks.recurrence import GATES, Cell, Recurrence

Array = NDArray[np.float32]


def fill(network: nn.Module, folder: Path) -> None:
    """Give a network of the model's settings the weights of the model in a folder.

    Raises:
        TrainingError: the graph cannot be read, or lacks a weight of the network.
    """
    try:
        graph = onnx.load(str(folder / "observe.onnx")).graph
    except (OSError, ValueError) as error:
        raise TrainingError(f"model {folder.name}: expected observe.onnx and weights.bin: {error}") from error
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    recurrence = network.recurrence
    assert isinstance(recurrence, Recurrence)
    weights = {name: values for name, values in _plain(found, graph).items() if name in network.state_dict()}
    for index, values in enumerate(_begin(recurrence, folder)):
        weights[f"recurrence.begin.{index}"] = values
    for layer in range(recurrence.layers):
        weights |= _layer(found, layer, recurrence.cell)
    if "output.weight" not in weights and "output.weight" in network.state_dict():
        weights["output.weight"] = weights["embedding.weight"]  # tied
    missing = sorted(network.state_dict().keys() - weights.keys())
    if missing:
        raise TrainingError(f"model {folder.name}: expected weights for {', '.join(missing)} in observe.onnx, got none")
    network.load_state_dict({name: torch.tensor(values) for name, values in weights.items()})


def _plain(found: dict[str, Array], graph: onnx.GraphProto) -> dict[str, Array]:
    """Everything outside the recurrence, by the parameter's name; matrices are stored transposed."""
    named = {"embedding": "embedding.weight", "output.bias": "output.bias"}
    turned = {"projection": "projection.weight", "output.matrix": "output.weight", "head.matrix": "head.weight"}
    plain = {parameter: found[name] for name, parameter in named.items() if name in found}
    plain |= {parameter: found[name].T for name, parameter in turned.items() if name in found}
    if "head.matrix" in found:
        plain["head.bias"] = found[_added_to(graph, "head.matrix")]
    return plain


def _added_to(graph: onnx.GraphProto, matrix: str) -> str:
    """The constant that is added to the product with a matrix."""
    product = next(node.output[0] for node in graph.node if matrix in node.input)
    return next(node.input[1] for node in graph.node if node.op_type == "Add" and node.input[0] == product)


def _begin(recurrence: Recurrence, folder: Path) -> list[Array]:
    """The learned initial state, part by part, from the row that the graph `initial` gives; nothing where zeros."""
    if not len(recurrence.begin):
        return []
    graph = onnx.load(str(folder / "initial.onnx")).graph
    row = next(numpy_helper.to_array(tensor)[0] for tensor in graph.initializer if len(tensor.dims) == 2)
    sizes = [part.numel() for part in recurrence.begin]
    return np.split(row[: sum(sizes)], np.cumsum(sizes)[:-1])


def _layer(found: dict[str, Array], layer: int, cell: Cell) -> dict[str, Array]:
    input_to, hidden_to = (found[f"recurrence.{layer}.{part}"][0] for part in "WR")
    bias_ih, bias_hh = np.split(found[f"recurrence.{layer}.B"][0], 2)
    parts = {"weight_ih": input_to, "weight_hh": hidden_to, "bias_ih": bias_ih, "bias_hh": bias_hh}
    return {f"recurrence.rnn.{name}_l{layer}": _torch_order(values, cell) for name, values in parts.items()}


def _torch_order(values: Array, cell: Cell) -> Array:
    blocks = np.split(values, GATES[cell])
    return np.concatenate([blocks[GATE_ORDER[cell].index(gate)] for gate in range(GATES[cell])])
