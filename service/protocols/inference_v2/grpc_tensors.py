"""ModelInferRequest to what is asked, and what is answered to ModelInferResponse: pure functions.

A request holds every tensor's elements as raw bytes, as most clients send them, or every tensor's in the typed fields;
an answer's are always raw, as Triton's are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from service.errors import InputMismatch
from service.protocols.inference_v2 import inference_pb2 as messages
from service.protocols.inference_v2.core import (
    InferAnswer,
    InferRequest,
    Parameter,
    Parameters,
    RequestedOutput,
    TensorIn,
)
from service.protocols.inference_v2.tensors import DTYPES, element_count, from_raw, mismatch, to_raw

AnyParameter = messages.InferParameter | messages.ModelRepositoryParameter

_FIELDS = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Where the typed elements of a datatype are; FP16 has no field and comes as raw bytes alone."""
_INT64_MAX = 2**63 - 1


def read_request(message: messages.ModelInferRequest) -> InferRequest:
    """What a message asks for.

    Raises:
        InputMismatch: contents that do not fill a tensor's shape, are not there, or are there twice.
    """
    return InferRequest(
        model=message.model_name,
        version=message.model_version,
        id=message.id,
        parameters=read_parameters(message.parameters),
        inputs=list(_inputs(message)),
        outputs=[RequestedOutput(each.name, read_parameters(each.parameters)) for each in message.outputs],
    )


def write_answer(answer: InferAnswer) -> messages.ModelInferResponse:
    """The message that tells an answer."""
    message = messages.ModelInferResponse(
        model_name=answer.model_name, model_version=answer.model_version, id=answer.id
    )
    write_parameters(answer.parameters, message.parameters)
    for output in answer.outputs:
        message.outputs.add(name=output.name, datatype=output.datatype, shape=output.shape)
        message.raw_output_contents.append(to_raw(output.data))
    return message


def read_parameters(given: Mapping[str, AnyParameter]) -> Parameters:
    """Parameters by name.

    Raises:
        InputMismatch: one holds no value of a kind that is known.
    """
    return {name: _value(name, parameter) for name, parameter in given.items()}


def write_parameters(told: Parameters, into: Any) -> None:
    """Put parameters into a message's map of them."""
    for name, value in told.items():
        match value:
            case bool():
                into[name].bool_param = value
            case int() if value > _INT64_MAX:
                into[name].uint64_param = value
            case int():
                into[name].int64_param = value
            case float():
                into[name].double_param = value
            case str():
                into[name].string_param = value


def _value(name: str, parameter: AnyParameter) -> Parameter:
    kind = parameter.WhichOneof("parameter_choice")
    if kind is None:
        raise InputMismatch(f"parameters.{name[:60]}: expected a value, got none", parameter=name[:60])
    value: Parameter = getattr(parameter, kind)
    return value


def _inputs(message: messages.ModelInferRequest) -> Iterable[TensorIn]:
    if not message.raw_input_contents:
        return map(_typed, message.inputs)
    if len(message.raw_input_contents) != len(message.inputs):
        raise InputMismatch(
            f"raw_input_contents: expected one entry for each of {len(message.inputs)} inputs, got "
            f"{len(message.raw_input_contents)}",
            parameter="raw_input_contents",
        )
    return map(_raw, message.inputs, message.raw_input_contents)


def _raw(tensor: messages.ModelInferRequest.InferInputTensor, content: bytes) -> TensorIn:
    if tensor.HasField("contents"):
        raise mismatch(tensor.name, "expected its elements in contents or in raw_input_contents, they are in both")
    _check_parameters(tensor)
    return from_raw(tensor.name, tensor.datatype, tensor.shape, content)


def _typed(tensor: messages.ModelInferRequest.InferInputTensor) -> TensorIn:
    _check_parameters(tensor)
    name, datatype, shape = tensor.name, tensor.datatype, tuple(tensor.shape)
    count = element_count(name, datatype, shape)
    if datatype not in _FIELDS:
        raise mismatch(name, f"expected {datatype} in raw_input_contents, which alone can hold it")
    field = _FIELDS[datatype]
    filled = [descriptor.name for descriptor, _ in tensor.contents.ListFields()]
    if any(other != field for other in filled):
        raise mismatch(name, f"expected {datatype} in contents.{field}, got {', '.join(filled)}")
    elements = getattr(tensor.contents, field)
    if len(elements) != count:
        raise mismatch(name, f"expected {count} elements of contents.{field} for {list(shape)}, got {len(elements)}")
    if datatype == "BYTES":
        return TensorIn(name, datatype, shape, list(elements))
    try:
        return TensorIn(name, datatype, shape, np.array(list(elements), DTYPES[datatype]).reshape(shape))
    except OverflowError:
        limits = np.iinfo(DTYPES[datatype])
        raise mismatch(name, f"expected numbers from {limits.min} to {limits.max}") from None


def _check_parameters(tensor: messages.ModelInferRequest.InferInputTensor) -> None:
    """Refuse what an input's parameters ask for: it would be shared memory, which the service has none of."""
    for name in tensor.parameters:
        raise mismatch(tensor.name, f"parameter {name[:60]!r} is not implemented: send the elements in the request")
