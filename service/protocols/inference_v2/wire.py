"""HTTP bodies of inference: bytes to `InferRequest`, and `InferAnswer` to bytes. Pure functions, with Triton's binary
tensor data: JSON first, as long as a header says, then the tensors' raw contents one after the other.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import msgspec

from service.errors import BadRequest, InputMismatch
from service.protocols.answering import json_in_turns
from service.protocols.inference_v2.core import (
    InferAnswer,
    InferRequest,
    Parameter,
    Parameters,
    RequestedOutput,
    TensorIn,
    TensorOut,
)
from service.protocols.inference_v2.signature import Signature
from service.protocols.inference_v2.tensors import DTYPES, from_raw, from_values, mismatch, to_raw
from service.protocols.mismatches import mismatch as body_mismatch
from service.protocols.mismatches import shown
from service.protocols.reading import decode, has_lone_surrogate

_Given = dict[str, Parameter] | None
_Size = Annotated[int, msgspec.Meta(ge=0)]


class InputTensor(msgspec.Struct, forbid_unknown_fields=True):
    """One input: `data` flat or nested, null where a value is missing; or, with `binary_data_size`, after the JSON."""

    name: str
    shape: list[_Size]
    datatype: str
    parameters: _Given = None
    data: list[Any] | None = None


class OutputTensor(msgspec.Struct, forbid_unknown_fields=True):
    """One output that is wanted; the parameter `binary_data` has it written after the JSON, and `classification`, of a
    classifier's probabilities, so many of the likeliest classes told by name in its place."""

    name: str
    parameters: _Given = None


class InferBody(msgspec.Struct, forbid_unknown_fields=True):
    """An inference request of the Open Inference Protocol V2."""

    inputs: list[InputTensor]
    outputs: list[OutputTensor] | None = None
    parameters: _Given = None
    id: str | None = None
    model_name: str | None = None


_decoder = msgspec.json.Decoder(InferBody)


def read_request(
    body: bytes, header_length: int | None = None, *, model: str, version: str = "", key: str | None = None
) -> InferRequest:
    """The request that a body holds.

    Args:
        header_length: how much of the body is JSON; all of it if None.
        key: the header Idempotency-Key.

    Raises:
        BadRequest: not readable.
        InputMismatch: readable, but no inference request.
    """
    head, rest = (body, b"") if header_length is None else (body[:header_length], body[header_length:])
    asked = _decode(head)
    if asked.model_name not in (None, model):
        raise InputMismatch(f"body.model_name: expected {model!r} as in the path, got {asked.model_name!r:.80}")
    return InferRequest(
        model,
        version,
        asked.id or "",
        with_key(asked.parameters or {}, key),
        _inputs(asked.inputs, rest),
        [RequestedOutput(output.name, output.parameters or {}) for output in asked.outputs or ()],
    )


def read_raw_request(body: bytes, signature: Signature, model: str, version: str = "") -> InferRequest:
    """The request whose body is nothing but the contents of the model's one input: one row, as long as they reach.

    Raises:
        InputMismatch: the model takes more than one input, or the contents are no whole number of values.
    """
    first, *others = signature.inputs
    if others or len(first.shape) != 2:
        names = ", ".join(described.name for described in signature.inputs)
        raise InputMismatch(
            f"body: expected JSON for a model that takes {names}: only a model of one input takes its bare contents"
        )
    length = len(body) // DTYPES[first.datatype].itemsize
    tensor = from_raw(first.name, first.datatype, (1, length), body)
    return InferRequest(model, version, parameters={"binary_data_output": True}, inputs=[tensor])


def with_key(parameters: Parameters, key: str | None) -> Parameters:
    """The parameters, with the idempotency key of the header among those of a sequence; others need none.

    Raises:
        InputMismatch: both hold one, and they differ.
    """
    if key is None or not parameters.get("sequence_id"):
        return parameters
    if parameters.setdefault("idempotency_key", key) != key:
        raise InputMismatch("parameters.idempotency_key: expected the same as in the header, or only one of them")
    return parameters


def _decode(head: bytes) -> InferBody:
    try:
        return _decoder.decode(head)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    # NaN is no JSON, but Triton's own client writes it where a value is missing.
    value = _parse_with_nan(head)
    if value is None or has_lone_surrogate(value):
        return decode(InferBody, head)  # says what is wrong
    try:
        return msgspec.convert(value, InferBody)
    except msgspec.ValidationError as error:
        raise body_mismatch(error, value, "body", InferBody) from None


def _parse_with_nan(head: bytes) -> Any:
    try:
        return json.loads(head, parse_constant=lambda constant: None if constant == "NaN" else float(constant))
    except (ValueError, RecursionError):
        return None


def _inputs(given: list[InputTensor], rest: bytes) -> list[TensorIn]:
    tensors: list[TensorIn] = []
    place = 0
    for tensor in given:
        size = _binary_size(tensor)
        if size is None:
            tensors.append(_from_json(tensor))
            continue
        raw = rest[place : place + size]
        if len(raw) < size:
            raise mismatch(
                tensor.name,
                f"its binary_data_size says {size} bytes, {len(raw)} of them came after the JSON, whose length "
                "the header Inference-Header-Content-Length gives",
            )
        place += size
        tensors.append(from_raw(tensor.name, tensor.datatype, tensor.shape, raw))
    if place < len(rest):
        raise BadRequest(f"body: {len(rest) - place} bytes more than the inputs' binary_data_size say")
    return tensors


def _binary_size(tensor: InputTensor) -> int | None:
    """The bytes of an input that is sent after the JSON; None for one within it."""
    if not tensor.parameters:
        return None
    size = tensor.parameters.pop("binary_data_size", None)
    for name in tensor.parameters:
        raise mismatch(tensor.name, f"{name[:60]}: unknown parameter; known is binary_data_size")
    if type(size) is not int or size < 0:
        raise mismatch(tensor.name, f"binary_data_size: expected a whole number from 0 on, got {shown(size)}")
    if tensor.data is not None:
        raise mismatch(tensor.name, "expected either data or binary_data_size, got both")
    return size


def _from_json(tensor: InputTensor) -> TensorIn:
    if tensor.data is None:
        raise mismatch(tensor.name, "expected data, or the parameter binary_data_size and the data after the JSON")
    return from_values(tensor.name, tensor.datatype, tensor.shape, tensor.data)


async def write_answer(answer: InferAnswer, request: InferRequest) -> tuple[bytes, int | None]:
    """The body of an answer, and the length of its JSON where raw contents come after it."""
    raw: list[bytes] = []
    default, by_name = _binary_outputs(request)
    outputs = [_written(tensor, by_name.get(tensor.name, default), raw) for tensor in answer.outputs]
    content: dict[str, Any] = {"model_name": answer.model_name, "model_version": answer.model_version}
    if answer.id:
        content["id"] = answer.id
    if answer.parameters:
        content["parameters"] = answer.parameters
    content["outputs"] = outputs
    head = await json_in_turns(content)
    return (b"".join([head, *raw]), len(head)) if raw else (head, None)


def _binary_outputs(request: InferRequest) -> tuple[bool, dict[str, bool]]:
    """Whether outputs are written after the JSON, and those asked for otherwise by name."""
    default = request.parameters.get("binary_data_output") is True
    return default, {output.name: output.parameters.get("binary_data", default) is True for output in request.outputs}


def _written(tensor: TensorOut, binary: bool, raw: list[bytes]) -> dict[str, Any]:
    """One output of the JSON; its contents are in it, or at the end of `raw`."""
    described: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
    if not binary:
        return described | {"data": tensor.data.ravel()}
    raw.append(to_raw(tensor.data))
    return described | {"parameters": {"binary_data_size": len(raw[-1])}}
