"""Builds ONNX graphs by hand: gathers nodes, constants and weights, and writes graphs that share one weights file.

Values are plain names, as in ONNX itself. Small constants lie in the graph; weights lie in `weights.bin` once,
however many graphs use them, and stay constant initialisers, so that onnxruntime packs them when it loads.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper

from service.contract.manifest import Dimension, FileReference, GraphReference, Tensor, sha256_of

OPSET = 20
IR_VERSION = 10
WEIGHTS_FILE = "weights.bin"
_ALIGNMENT = 4096  # a page, so that the file can be mapped into memory
_TYPES = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}
DType = Literal["float32", "int64"]
Value = str
"""The name of a tensor in a graph."""


class Weights:
    """Tensors by name, laid one after another into one file."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._tensors: dict[str, TensorProto] = {}

    def tensor(self, name: str, array: NDArray[np.float32]) -> TensorProto:
        """The tensor by that name, as a reference into the file; its values are added on first use."""
        if name not in self._tensors:
            values = np.ascontiguousarray(array, np.float32)
            self._bytes.extend(bytes(-len(self._bytes) % _ALIGNMENT))
            tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=values.shape)
            tensor.data_location = TensorProto.EXTERNAL
            place = {"location": WEIGHTS_FILE, "offset": len(self._bytes), "length": values.nbytes}
            tensor.external_data.extend(
                onnx.StringStringEntryProto(key=key, value=str(value)) for key, value in place.items()
            )
            self._bytes.extend(values.tobytes())
            self._tensors[name] = tensor
        return self._tensors[name]

    def save(self, folder: Path) -> FileReference:
        """Write the file."""
        path = folder / WEIGHTS_FILE
        path.write_bytes(self._bytes)
        return FileReference(file=WEIGHTS_FILE, sha256=sha256_of(path))


class GraphBuilder:
    """One graph, or the body of a Scan or If inside one; a body sees every value of the graph around it."""

    def __init__(self, name: str, weights: Weights, parent: GraphBuilder | None = None) -> None:
        self.name = name
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []
        self._weights = weights
        self._root: GraphBuilder = self if parent is None else parent._root
        self._nodes: list[onnx.NodeProto] = []
        self._initialisers: dict[str, TensorProto] = {}
        self._input_infos: list[onnx.ValueInfoProto] = []
        self._output_infos: list[onnx.ValueInfoProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._count = 0

    def input(self, name: str, shape: Sequence[Dimension], dtype: DType = "float32", unit: str | None = None) -> Value:
        """Declare an input; in a body, of a name that nothing outside has."""
        name = name if self is self._root else self._unique(name)
        self.inputs.append(Tensor(name=name, dtype=dtype, shape=tuple(shape), unit=unit))
        self._input_infos.append(_value_info(name, shape, dtype))
        return name

    def output(
        self, value: Value, shape: Sequence[Dimension], dtype: DType = "float32", unit: str | None = None
    ) -> None:
        """Declare a value, made by a node of this graph, as an output."""
        self.outputs.append(Tensor(name=value, dtype=dtype, shape=tuple(shape), unit=unit))
        self._output_infos.append(_value_info(value, shape, dtype))

    def constant(self, values: ArrayLike, dtype: Any = np.float32) -> Value:
        """A small constant inside the graph; equal ones are kept once."""
        array = np.asarray(values, dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        root = self._root
        if key not in root._constants:
            root._constants[key] = root._unique("constant")
            root._initialisers[root._constants[key]] = numpy_helper.from_array(array, root._constants[key])
        return root._constants[key]

    def integers(self, *values: int) -> Value:
        """A constant list of integers, such as axes or sizes."""
        return self.constant(values, np.int64)

    def weight(self, name: str, array: NDArray[np.float32]) -> Value:
        """A constant that lies in the weights file, shared by all graphs that name it."""
        self._root._initialisers[name] = self._weights.tensor(name, array)
        return name

    def node(self, operator: str, *inputs: Value | float, output: Value | None = None, **attributes: Any) -> Value:
        """Add a node of one output and return its name; numbers among the inputs become constants."""
        output = output or self._unique(operator)
        self._add(operator, inputs, [output], attributes)
        return output

    def nodes(
        self, operator: str, *inputs: Value | float, outputs: int, unused: Sequence[int] = (), **attributes: Any
    ) -> list[Value]:
        """Add a node of several outputs and return their names; the `unused` ones are not even computed."""
        names = ["" if index in unused else self._unique(operator) for index in range(outputs)]
        self._add(operator, inputs, names, attributes)
        return names

    def split(self, value: Value, sizes: Sequence[int], axis: int = -1) -> list[Value]:
        """Cut a value along an axis into parts of the given sizes."""
        return self.nodes("Split", value, self.integers(*sizes), outputs=len(sizes), axis=axis)

    def slice(self, value: Value, start: int, end: int, axis: int) -> Value:
        """Part of a value along an axis; bounds as in Python, negative ones from the end."""
        return self.node("Slice", value, self.integers(start), self.integers(end), self.integers(axis))

    @property
    def outermost(self) -> GraphBuilder:
        """The graph around all bodies: what does not change from step to step belongs there."""
        return self._root

    def body(self, name: str) -> GraphBuilder:
        """An empty body for a Scan or an If of this graph."""
        return GraphBuilder(name, self._weights, self)

    def scan(
        self,
        body: GraphBuilder,
        states: Sequence[Value],
        inputs: Sequence[Value],
        input_axis: int = 1,
        output_axis: int = 1,
    ) -> list[Value]:
        """Run `body` along an axis of the inputs: the final states, then what each step gave, stacked.

        The stacked outputs have an axis more than the body's, at `output_axis`.
        """
        stacked = len(body.outputs) - len(states)
        return self.nodes(
            "Scan",
            *states,
            *inputs,
            outputs=len(body.outputs),
            body=body.graph(),
            num_scan_inputs=len(inputs),
            scan_input_axes=[input_axis] * len(inputs),
            scan_output_axes=[output_axis] * stacked,
        )

    def conditional(self, condition: Value, then: GraphBuilder, otherwise: GraphBuilder) -> Value:
        """The one output of `then` where the scalar condition holds, of `otherwise` where not."""
        return self.node("If", condition, then_branch=then.graph(), else_branch=otherwise.graph())

    def graph(self) -> onnx.GraphProto:
        """The graph as a protocol buffer."""
        return helper.make_graph(
            self._nodes, self.name, self._input_infos, self._output_infos, list(self._initialisers.values())
        )

    def save(self, folder: Path, metadata: dict[str, str]) -> GraphReference:
        """Write `<name>.onnx` beside the weights file, checked by the ONNX checker."""
        model = helper.make_model(
            self.graph(),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="unroll",
            doc_string=f"{self.name}: axis 0 is the batch, axis 1 is time",
        )
        helper.set_model_props(model, metadata)
        path = folder / f"{self.name}.onnx"
        path.write_bytes(model.SerializeToString(deterministic=True))
        onnx.checker.check_model(str(path), full_check=True)
        return GraphReference(
            file=path.name, sha256=sha256_of(path), inputs=tuple(self.inputs), outputs=tuple(self.outputs)
        )

    def _add(
        self, operator: str, inputs: Sequence[Value | float], outputs: list[Value], attributes: dict[str, Any]
    ) -> None:
        names = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        self._nodes.append(helper.make_node(operator, names, outputs, **attributes))

    def _unique(self, stem: str) -> str:
        self._root._count += 1
        return f"{stem.lower()}.{self._root._count}"


def _value_info(name: str, shape: Sequence[Dimension], dtype: DType) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, _TYPES[dtype], list(shape))
