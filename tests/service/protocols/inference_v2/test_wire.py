"""HTTP bodies of inference: the standard's and Triton's documented examples, and what clients get wrong."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import BadRequest, InputMismatch, UnrollError
from service.protocols.inference_v2.core import InferAnswer, InferRequest, RequestedOutput, TensorOut
from service.protocols.inference_v2.signature import Described, Signature
from service.protocols.inference_v2.wire import read_raw_request, read_request, write_answer

INPUT: dict[str, Any] = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0]}


def read(body: Any, header_length: int | None = None, **more: Any) -> InferRequest:
    return read_request(
        body if isinstance(body, bytes) else json.dumps(body).encode(), header_length, model="mymodel", **more
    )


def values(request: InferRequest, index: int = 0) -> Any:
    data = request.inputs[index].data
    assert isinstance(data, np.ndarray)
    return data.tolist()


def test_the_standards_example_is_read() -> None:
    """Open Inference Protocol, HTTP/REST, "Inference Request Examples"; there input1 lacks two of its values."""
    request = read(
        b"""{
          "id" : "42",
          "inputs" : [
            {"name" : "input0", "shape" : [ 2, 2 ], "datatype" : "UINT32", "data" : [ 1, 2, 3, 4 ]},
            {"name" : "input1", "shape" : [ 3 ], "datatype" : "BOOL", "data" : [ true, false, true ]}
          ],
          "outputs" : [ { "name" : "output0" } ]
        }"""
    )
    assert (request.model, request.version, request.id) == ("mymodel", "", "42")
    assert values(request) == [[1, 2], [3, 4]] and values(request, 1) == [True, False, True]
    assert [output.name for output in request.outputs] == ["output0"]


def test_tritons_binary_example_is_read() -> None:
    """Triton, "Binary Tensor Data Extension": 16 bytes for input0, 3 for input1, and a `model_name` in the body."""
    head = b"""{
      "model_name" : "mymodel",
      "inputs" : [
        {"name" : "input0", "shape" : [ 2, 2 ], "datatype" : "UINT32", "parameters" : {"binary_data_size" : 16}},
        {"name" : "input1", "shape" : [ 3 ], "datatype" : "BOOL", "parameters" : {"binary_data_size" : 3}}
      ],
      "outputs" : [ {"name" : "output0", "parameters" : {"binary_data" : true}} ]
    }"""
    raw = np.arange(4, dtype="<u4").tobytes() + b"\1\0\1"
    request = read(head + raw, len(head))
    assert values(request) == [[0, 1], [2, 3]] and values(request, 1) == [True, False, True]
    assert request.outputs == [RequestedOutput("output0", {"binary_data": True})]


@pytest.mark.anyio
async def test_tritons_binary_answer_is_written() -> None:
    """The same page's answer: a tensor FP32 [3, 2] in 24 bytes."""
    data = np.array([[1.0, 1.1], [2.0, 2.1], [3.0, 3.1]], np.float32)
    answer = InferAnswer("mymodel", "1", "", {}, [TensorOut("output0", "FP32", (3, 2), data)])
    body, length = await write_answer(
        answer, InferRequest("mymodel", outputs=[RequestedOutput("output0", {"binary_data": True})])
    )
    assert length is not None and body[length:] == data.tobytes()
    assert json.loads(body[:length])["outputs"] == [
        {"name": "output0", "shape": [3, 2], "datatype": "FP32", "parameters": {"binary_data_size": 24}}
    ]


@pytest.mark.parametrize(
    "parameters",
    [{"sequence_id": 42}, {"sequence_id": "e333c95a-07fc-42d2-ab16-033b1a566ed5"}, {"my_custom_parameter": 42}],
)
def test_tritons_examples_of_parameters_are_read(parameters: dict[str, Any]) -> None:
    """Triton, "Sequence Extension" and "Parameters Extension"; there a comma is missing."""
    inputs = [{"name": "input0", "shape": [2, 2], "datatype": "UINT32", "data": [1, 2, 3, 4]}]
    assert read({"parameters": parameters, "inputs": inputs}).parameters == parameters


@pytest.mark.anyio
async def test_outputs_are_json_unless_binary_is_asked_for() -> None:
    data = np.array([[0.5, np.nan]], np.float32)
    answer = InferAnswer("m", "1", "7", {"position": 2}, [TensorOut(name, "FP32", (1, 2), data) for name in "ab"])
    body, length = await write_answer(answer, InferRequest("m"))
    written = json.loads(body)
    assert length is None and list(written) == ["model_name", "model_version", "id", "parameters", "outputs"]
    assert written["outputs"][0] == {"name": "a", "datatype": "FP32", "shape": [1, 2], "data": [0.5, None]}
    mixed = InferRequest("m", parameters={"binary_data_output": True})
    mixed.outputs = [RequestedOutput("a"), RequestedOutput("b", {"binary_data": False})]
    body, length = await write_answer(answer, mixed)
    assert body[length:] == data.tobytes()
    first, second = json.loads(body[:length])["outputs"]
    # What Triton's C++ client needs: no parameters on an output but with the size of its contents.
    assert first["parameters"] == {"binary_data_size": 8} and "parameters" not in second


@pytest.mark.anyio
async def test_neither_id_nor_parameters_are_written_where_there_are_none() -> None:
    body, _ = await write_answer(InferAnswer("m", "1", "", {}, []), InferRequest("m"))
    assert json.loads(body) == {"model_name": "m", "model_version": "1", "outputs": []}


def test_nulls_stand_for_what_is_left_out() -> None:
    request = read({"id": None, "parameters": None, "outputs": None, "inputs": [INPUT | {"parameters": None}]})
    assert (request.id, request.parameters, request.outputs) == ("", {}, [])


@pytest.mark.parametrize("written", ["NaN", "null"])
def test_a_missing_value_is_null_or_what_tritons_client_writes(written: str) -> None:
    text = json.dumps({"inputs": [INPUT]}).replace("1.0", written)
    assert np.isnan(values(read(text.encode()))[0][0]) and values(read(text.encode()))[0][1] == 2


def test_a_header_may_say_that_all_is_json() -> None:
    body = json.dumps({"inputs": [INPUT]}).encode()
    assert values(read(body, len(body))) == [[1, 2]]


def test_the_idempotency_key_may_be_in_the_header_or_among_the_parameters() -> None:
    body: dict[str, Any] = {"inputs": [INPUT], "parameters": {"sequence_id": 1}}
    assert read(body, key="k").parameters == {"sequence_id": 1, "idempotency_key": "k"}
    body["parameters"]["idempotency_key"] = "k"
    assert read(body, key="k").parameters == {"sequence_id": 1, "idempotency_key": "k"}
    with pytest.raises(InputMismatch, match="the same as in the header"):
        read(body, key="other")
    # Without a sequence nothing is carried out that could not be carried out again.
    assert read({"inputs": [INPUT]}, key="k").parameters == {}


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (b"", BadRequest, "expected a JSON object, got nothing"),
        (b"{", BadRequest, "expected JSON"),
        (b"null", InputMismatch, "body: expected an object"),
        (b'{"inputs": [], "id": "\\ud800"}', BadRequest, "half of a surrogate pair"),
        (b'{"inputs": [NaN], "id": "\\ud800"}', BadRequest, "NaN"),
        (b"[" * 100_000, BadRequest, "nested too deeply|expected JSON"),
        ({}, InputMismatch, "body.inputs: expected a list, got nothing"),
        ({"inputs": [INPUT], "input": 1}, InputMismatch, "body.input: unknown parameter"),
        ({"inputs": [INPUT | {"shape": [-1]}]}, InputMismatch, "expected a whole number at least 0, got -1"),
        ({"inputs": [INPUT], "parameters": {"a": [1]}}, InputMismatch, "body.parameters"),
        ({"inputs": [INPUT], "model_name": "other"}, InputMismatch, "model_name: expected 'mymodel'"),
        ({"inputs": [INPUT | {"data": None}]}, InputMismatch, "input 'x': expected data, or the parameter"),
        ({"inputs": [INPUT | {"parameters": {"binary_data_size": 8}}]}, InputMismatch, "got both"),
        (
            {"inputs": [INPUT | {"data": None, "parameters": {"binary_data_size": 8}}]},
            InputMismatch,
            "says 8 bytes, 0 of them came after the JSON",
        ),
        (
            {"inputs": [INPUT | {"parameters": {"binary_data_size": True}}]},
            InputMismatch,
            "expected a whole number from 0 on, got true",
        ),
        (
            {"inputs": [INPUT | {"parameters": {"shared_memory_region": "r"}}]},
            InputMismatch,
            "shared_memory_region: unknown parameter",
        ),
    ],
)
def test_what_cannot_be_read_is_told(body: Any, kind: type[UnrollError], message: str) -> None:
    with pytest.raises(kind, match=message):
        read(body)


def test_bytes_that_belong_to_no_input_are_refused() -> None:
    body = json.dumps({"inputs": [INPUT]}).encode()
    with pytest.raises(BadRequest, match="3 bytes more than the inputs' binary_data_size say"):
        read(body + b"abc", len(body))


def test_bare_contents_are_the_only_input_of_a_model() -> None:
    one = Signature("m/1", (Described("target", "FP32", (-1, -1)),), (), ())
    request = read_raw_request(np.array([1, 2, 3], "<f4").tobytes(), one, "m")
    assert request.inputs[0].shape == (1, 3) and values(request) == [[1, 2, 3]]
    assert request.parameters == {"binary_data_output": True}
    with pytest.raises(InputMismatch, match="expected 4 bytes for FP32"):
        read_raw_request(b"12345", one, "m")
    two = Signature("m/1", (*one.inputs, Described("covariates", "FP32", (-1, -1, 1))), (), ())
    with pytest.raises(InputMismatch, match="takes target, covariates: only a model of one input"):
        read_raw_request(b"1234", two, "m")


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_tensor = st.fixed_dictionaries(
    {"name": st.just("x"), "shape": _json | st.just([1, 2]), "datatype": st.sampled_from(["FP32", "INT64", "BYTES"])},
    optional={"data": _json, "parameters": _json | st.just({"binary_data_size": 8})},
)
_body = st.fixed_dictionaries({"inputs": st.lists(_tensor, max_size=2) | _json}, optional={"parameters": _json})


@given(_body.map(json.dumps).map(str.encode) | st.binary(max_size=40), st.none() | st.integers(0, 60))
def test_whatever_comes_is_read_or_refused(body: bytes, header_length: int | None) -> None:
    try:
        request = read(body, header_length)
    except UnrollError as error:
        assert error.status in (400, 422) and error.message
    else:
        assert all(isinstance(tensor.shape, tuple) for tensor in request.inputs)
