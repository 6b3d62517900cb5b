"""Two-layer LSTMs of any size as ONNX graphs, with random weights: what is measured does not depend on them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from service.contract.manifest import Dimension, GraphReference, Tensor

INPUTS, OUTPUTS, LAYERS = 8, 24, 2
Shapes = dict[str, tuple[Dimension, ...]]


def weight_bytes(hidden: int) -> int:
    return sum(4 * hidden * (width + hidden + 2) * 4 for width in (INPUTS, hidden)) + (hidden + 1) * OUTPUTS * 4


def lstm(hidden: int) -> tuple[bytes, GraphReference]:
    """state (B, S) and x (B, T, 8) in, y (B, T, 24) and next_state out, and what a manifest would say of it."""
    random = np.random.default_rng(0)
    weights: dict[str, NDArray[np.float32] | NDArray[np.int64]] = {
        "matrix": random.normal(scale=0.05, size=(hidden, OUTPUTS)).astype(np.float32),
        "bias": np.zeros(OUTPUTS, np.float32),
        "parts": np.full(2 * LAYERS, hidden, np.int64),
        "first": np.zeros(1, np.int64),
        "second": np.ones(1, np.int64),
    }
    names = [f"{kind}{layer}" for kind in ("hidden", "cell") for layer in range(LAYERS)]
    nodes = [
        helper.make_node("Split", ["state", "parts"], names, axis=1),
        *(helper.make_node("Unsqueeze", [name, "first"], [f"{name} in"]) for name in names),
        helper.make_node("Transpose", ["x"], ["y 0"], perm=[1, 0, 2]),
    ]
    for layer, width in enumerate((INPUTS, hidden)):
        for part, shape in (("W", (1, 4 * hidden, width)), ("R", (1, 4 * hidden, hidden)), ("B", (1, 8 * hidden))):
            weights[f"{part}{layer}"] = random.normal(scale=0.05, size=shape).astype(np.float32)
        given = [f"y {layer}", f"W{layer}", f"R{layer}", f"B{layer}", "", f"hidden{layer} in", f"cell{layer} in"]
        taken = [f"every {layer}", f"hidden{layer} out", f"cell{layer} out"]
        nodes.append(helper.make_node("LSTM", given, taken, hidden_size=hidden))
        nodes.append(helper.make_node("Squeeze", [f"every {layer}", "second"], [f"y {layer + 1}"]))
    nodes += [
        helper.make_node("Transpose", [f"y {LAYERS}"], ["top"], perm=[1, 0, 2]),
        helper.make_node("MatMul", ["top", "matrix"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["y"]),
        *(helper.make_node("Squeeze", [f"{name} out", "first"], [f"{name} row"]) for name in names),
        helper.make_node("Concat", [f"{name} row" for name in names], ["next_state"], axis=1),
    ]
    width = 2 * LAYERS * hidden
    inputs: Shapes = {"state": ("B", width), "x": ("B", "T", INPUTS)}
    outputs: Shapes = {"y": ("B", "T", OUTPUTS), "next_state": ("B", width)}
    graph = helper.make_graph(
        nodes,
        "lstm",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    described = [
        tuple(Tensor(name=name, dtype="float32", shape=shape) for name, shape in tensors.items())
        for tensors in (inputs, outputs)
    ]
    return model.SerializeToString(), GraphReference(
        file="lstm.onnx", sha256="0" * 64, inputs=described[0], outputs=described[1]
    )
