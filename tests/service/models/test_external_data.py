"""Finding every file an ONNX file refers to, wherever in it the reference stands."""

from __future__ import annotations

import pytest
from onnx import AttributeProto, ModelProto, TensorProto, helper

from service.models.external_data import external_files
from tests.known_graphs import external, floats, model_of, node, running_sum_observe


def test_a_graph_with_everything_inside_refers_to_nothing() -> None:
    model = model_of([node("Identity", "x", "y")], [floats("x", 1)], [floats("y", 1)])
    assert external_files(model.SerializeToString()) == set()


def test_initialisers_are_found() -> None:
    assert external_files(running_sum_observe().SerializeToString()) == {"weights.bin"}


def in_attribute(**attribute: object) -> ModelProto:
    return model_of([node("Custom", "x", "y", **attribute)], [floats("x", 1)], [floats("y", 1)])


def in_subgraph() -> ModelProto:
    body = helper.make_graph([], "body", [], [floats("w", 3)], [external("w", [3], file="elsewhere.bin")])
    return in_attribute(body=body)


def in_function() -> ModelProto:
    model = in_attribute()
    constant = node("Constant", "", "c", value=external("c", [3], file="elsewhere.bin"))
    opset = [helper.make_opsetid("", 20)]
    model.functions.append(helper.make_function("ours", "F", [], ["c"], [constant], opset))
    return model


def in_list_of_tensors() -> ModelProto:
    model = in_attribute()
    tensors = [external("a", [1]), external("b", [1], file="elsewhere.bin")]
    attribute = AttributeProto(name="all", type=AttributeProto.TENSORS, tensors=tensors)
    model.graph.node[0].attribute.append(attribute)
    return model


def in_sparse_initialiser() -> ModelProto:
    model = in_attribute()
    sparse = model.graph.sparse_initializer.add()
    sparse.values.CopyFrom(external("s", [1], file="elsewhere.bin"))
    sparse.indices.CopyFrom(TensorProto(dims=[1], data_type=TensorProto.INT64, int64_data=[0]))
    return model


@pytest.mark.parametrize(
    "model",
    [
        in_attribute(value=external("c", [3], file="elsewhere.bin")),
        in_subgraph(),
        in_function(),
        in_list_of_tensors(),
        in_sparse_initialiser(),
    ],
    ids=["attribute", "subgraph", "function", "list of tensors", "sparse initialiser"],
)
def test_references_are_found_wherever_they_stand(model: ModelProto) -> None:
    assert "elsewhere.bin" in external_files(model.SerializeToString())


def test_a_graph_given_twice_hides_nothing() -> None:
    # Protobuf merges a message that comes twice; so does onnxruntime.
    first = model_of([node("Identity", "x", "y")], [floats("x", 1)], [floats("y", 1)]).SerializeToString()
    assert external_files(first + running_sum_observe().SerializeToString()) == {"weights.bin"}


@pytest.mark.parametrize("garbage", [b"\xff" * 12, b"\x3a\x7f", b"\x3a", b"\x0b", b"no graph at all"])
def test_garbage_is_refused(garbage: bytes) -> None:
    with pytest.raises(ValueError, match="expected|past the end|wire type"):
        external_files(garbage)


def test_endless_nesting_is_refused() -> None:
    def field(number: int, content: bytes) -> bytes:
        length = len(content)
        size = b""
        while length > 127:
            size, length = size + bytes([length & 127 | 128]), length >> 7
        return bytes([number << 3 | 2]) + size + bytes([length]) + content

    nested = b""
    for _ in range(60):
        nested = field(1, field(5, field(6, nested)))  # graph → node → attribute → graph
    with pytest.raises(ValueError, match="nested"):
        external_files(field(7, nested))
