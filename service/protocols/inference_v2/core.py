"""The Open Inference Protocol V2 without a transport: what is asked, and what is answered.

HTTP and gRPC read their own bytes into `InferRequest`, call `infer.infer`, and write the `InferAnswer` their own way.
Nothing here knows HTTP or gRPC.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

Parameter = bool | int | float | str
Parameters = dict[str, Parameter]


@dataclass(slots=True)
class TensorIn:
    """One input as it came.

    Args:
        shape: as the client says it; `data` has been checked to fill it.
        data: an array of that shape and of the datatype's dtype; for BYTES the elements, flat, in row-major order.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: NDArray[Any] | list[bytes]


@dataclass(slots=True)
class RequestedOutput:
    """An output the client asks for by name; how it is to be written is in its parameters."""

    name: str
    parameters: Parameters = field(default_factory=dict)


@dataclass(slots=True)
class InferRequest:
    """One inference request.

    Args:
        version: of the model; the newest if empty.
        id: what the client calls the request; echoed unless empty.
        outputs: none asks for all.
    """

    model: str
    version: str = ""
    id: str = ""
    parameters: Parameters = field(default_factory=dict)
    inputs: list[TensorIn] = field(default_factory=list)
    outputs: list[RequestedOutput] = field(default_factory=list)


@dataclass(slots=True)
class TensorOut:
    """One output, an array of that shape and of the datatype's dtype."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: NDArray[Any]


@dataclass(slots=True)
class InferAnswer:
    """The answer to one inference request, its outputs in the order they were asked for."""

    model_name: str
    model_version: str
    id: str
    parameters: Parameters
    outputs: list[TensorOut]
