"""Messages to requests and answers to messages."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InputMismatch
from service.protocols.inference_v2 import inference_pb2 as messages
from service.protocols.inference_v2.core import InferAnswer, TensorOut
from service.protocols.inference_v2.grpc_tensors import read_request, write_answer
from service.protocols.inference_v2.tensors import DTYPES

TYPED = {
    "BOOL": ("bool_contents", [True, False]),
    "UINT8": ("uint_contents", [0, 255]),
    "UINT16": ("uint_contents", [0, 65535]),
    "UINT32": ("uint_contents", [0, 2**32 - 1]),
    "UINT64": ("uint64_contents", [0, 2**64 - 1]),
    "INT8": ("int_contents", [-128, 127]),
    "INT16": ("int_contents", [-32768, 32767]),
    "INT32": ("int_contents", [-(2**31), 2**31 - 1]),
    "INT64": ("int64_contents", [-(2**63), 2**63 - 1]),
    "FP32": ("fp32_contents", [0.5, math.inf]),
    "FP64": ("fp64_contents", [0.1, -math.inf]),
}


def message_with(name: str = "x", datatype: str = "FP32", shape: Any = (1, 2), **contents: Any) -> Any:
    """A request of one input, its elements typed where any are given."""
    message = messages.ModelInferRequest(model_name="m")
    tensor = message.inputs.add(name=name, datatype=datatype, shape=shape)
    if contents:
        tensor.contents.CopyFrom(messages.InferTensorContents(**contents))
    return message


def refused(message: Any) -> str:
    with pytest.raises(InputMismatch) as error:
        read_request(message)
    return error.value.message


@pytest.mark.parametrize("datatype", TYPED)
def test_typed_elements_become_the_array_that_raw_ones_become(datatype: str) -> None:
    field, values = TYPED[datatype]
    contents: Any = {field: values}
    typed = read_request(message_with(datatype=datatype, **contents)).inputs[0]
    message = message_with(datatype=datatype)
    message.raw_input_contents.append(np.array([values], DTYPES[datatype]).tobytes())
    raw = read_request(message).inputs[0]
    assert isinstance(typed.data, np.ndarray) and isinstance(raw.data, np.ndarray)
    assert typed.shape == raw.shape == typed.data.shape == raw.data.shape == (1, 2)
    assert typed.data.dtype == raw.data.dtype == DTYPES[datatype]
    assert typed.data.tobytes() == raw.data.tobytes()


@given(st.lists(st.binary(max_size=9), max_size=5))
def test_texts_are_the_same_typed_and_raw(elements: list[bytes]) -> None:
    shape = [len(elements)]
    typed = read_request(message_with(datatype="BYTES", shape=shape, bytes_contents=elements))
    message = message_with(datatype="BYTES", shape=shape)
    message.raw_input_contents.append(b"".join(struct.pack("<I", len(each)) + each for each in elements))
    assert typed.inputs[0].data == read_request(message).inputs[0].data == elements


def test_missing_values_come_through() -> None:
    data = read_request(message_with(fp32_contents=[math.nan, 1.0])).inputs[0].data
    assert isinstance(data, np.ndarray) and np.isnan(data[0, 0]) and data[0, 1] == 1


def test_half_floats_come_as_raw_bytes_alone() -> None:
    message = message_with(datatype="FP16")
    assert "raw_input_contents" in refused(message)
    message.raw_input_contents.append(np.array([1, 2], np.float16).tobytes())
    data = read_request(message).inputs[0].data
    assert isinstance(data, np.ndarray) and data.tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (message_with(fp64_contents=[1, 2]), "expected FP32 in contents.fp32_contents, got fp64_contents"),
        (message_with(fp32_contents=[1]), "expected 2 elements of contents.fp32_contents for [1, 2], got 1"),
        (message_with(), "expected 2 elements of contents.fp32_contents for [1, 2], got 0"),
        (message_with(datatype="INT8", int_contents=[1, 128]), "expected numbers from -128 to 127"),
        (message_with(datatype="FLOAT"), "expected a datatype of"),
        (message_with(shape=[-1, 2]), "expected a shape of numbers from 0 on"),
        (message_with(shape=[2**62, 2**62], fp32_contents=[1]), "got 1"),
        (message_with(shape=[0, 2**62]), "expected a shape of numbers that memory could hold"),
    ],
)
def test_contents_that_do_not_fit_are_refused(message: Any, said: str) -> None:
    assert said in refused(message) and "'x'" in refused(message)


def test_every_input_is_raw_or_none_is() -> None:
    message = message_with()
    message.inputs.add(name="y", datatype="FP32", shape=[1, 1])
    message.raw_input_contents.append(bytes(8))
    assert "one entry for each of 2 inputs, got 1" in refused(message)
    message.raw_input_contents.append(bytes(4))
    message.inputs[1].contents.fp32_contents.append(1)
    assert "they are in both" in refused(message)
    message.inputs[1].ClearField("contents")
    assert [tensor.name for tensor in read_request(message).inputs] == ["x", "y"]
    message.raw_input_contents[1] = bytes(5)
    assert "expected 4 bytes for FP32 [1, 1], got 5" in refused(message)


def test_shared_memory_is_refused_by_name() -> None:
    message = message_with(fp32_contents=[1, 2])
    message.inputs[0].parameters["shared_memory_region"].string_param = "region"
    assert "'shared_memory_region' is not implemented" in refused(message)


def test_parameters_of_every_kind_are_read() -> None:
    message = messages.ModelInferRequest(id="7", model_version="2")
    message.parameters["sequence_id"].uint64_param = 2**64 - 1
    message.parameters["position"].int64_param = 4
    message.parameters["sequence_start"].bool_param = True
    message.parameters["first_timestamp"].string_param = "2024-01-01"
    message.parameters["share"].double_param = 0.5
    message.outputs.add(name="pit").parameters["binary_data"].bool_param = True
    request = read_request(message)
    assert (request.id, request.version) == ("7", "2")
    assert request.parameters == {
        "sequence_id": 2**64 - 1,
        "position": 4,
        "sequence_start": True,
        "first_timestamp": "2024-01-01",
        "share": 0.5,
    }
    assert [(output.name, output.parameters) for output in request.outputs] == [("pit", {"binary_data": True})]


def test_a_parameter_without_a_value_is_refused() -> None:
    message = messages.ModelInferRequest()
    message.parameters["sequence_id"].SetInParent()
    assert refused(message) == "parameters.sequence_id: expected a value, got none"


def test_an_answer_holds_raw_outputs_in_their_order() -> None:
    values = np.arange(6, dtype=np.float32).reshape(1, 3, 2)
    told: Any = {"sequence_id": 2**64 - 1, "position": 4, "repeated": True, "share": 0.5, "key": "a"}
    outputs = [TensorOut("q", "FP32", (1, 3, 2), values[:, ::-1]), TensorOut("n", "INT64", (1,), np.array([7]))]
    message = write_answer(InferAnswer("m", "3", "id", told, outputs))
    assert (message.model_name, message.model_version, message.id) == ("m", "3", "id")
    assert [(each.name, each.datatype, list(each.shape)) for each in message.outputs] == [
        ("q", "FP32", [1, 3, 2]),
        ("n", "INT64", [1]),
    ]
    assert message.raw_output_contents[0] == np.ascontiguousarray(values[:, ::-1]).tobytes()
    assert message.raw_output_contents[1] == b"\7" + bytes(7)
    kinds = {name: parameter.WhichOneof("parameter_choice") for name, parameter in message.parameters.items()}
    assert kinds["sequence_id"] == "uint64_param" and kinds["position"] == "int64_param"
    assert {name: getattr(message.parameters[name], str(kind)) for name, kind in kinds.items()} == told
