"""One-step requests of the Open Inference Protocol with sequences, as JSON and with binary tensors."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.inputs import step_inputs
from benchmarks.models import FORECASTER, QUANTILES
from benchmarks.plain_http import prepared, send
from benchmarks.routes import Route, new_session_numbers

_PATH = f"/v2/models/{FORECASTER}/infer"
_HEADER = "inference-header-content-length"
Tensors = dict[str, NDArray[np.float32]]
Write = Callable[[dict[str, Any], Tensors, Sequence[str]], bytes]


def routes(tensors: Callable[[list[float]], Tensors], outputs: Sequence[str]) -> tuple[Route, Route]:
    """JSON and binary requests for a model with these inputs; the quantiles begin the first of the outputs."""

    def prepare(write: Write) -> Callable[[str, int], list[bytes]]:
        def begin(address: str, count: int) -> list[bytes]:
            sequences = new_session_numbers(count)
            inputs = [tensors(step_inputs(index)) for index in range(count)]
            for sequence, given in zip(sequences, inputs, strict=True):
                send(address, write(_sequence(sequence, start=True), given, outputs))
            return [
                write(_sequence(sequence, start=False), given, outputs)
                for sequence, given in zip(sequences, inputs, strict=True)
            ]

        return begin

    return (
        Route("V2 JSON", prepare(_write_json), lambda body: _described(body, outputs[0])[0]["data"][:QUANTILES], 1),
        Route("V2 binary", prepare(_write_binary), lambda body: _binary_numbers(body, outputs[0]), 1),
    )


def _sequence(number: int, *, start: bool) -> dict[str, Any]:
    return {"sequence_id": number, "sequence_start": start, "sequence_end": False}


def _write_json(parameters: dict[str, Any], tensors: Tensors, outputs: Sequence[str]) -> bytes:
    inputs = [
        {"name": name, "shape": array.shape, "datatype": "FP32", "data": [round(float(x), 4) for x in array.flat]}
        for name, array in tensors.items()
    ]
    wanted = [{"name": name} for name in outputs]
    return prepared(_PATH, _json({"parameters": parameters, "inputs": inputs, "outputs": wanted}))


def _write_binary(parameters: dict[str, Any], tensors: Tensors, outputs: Sequence[str]) -> bytes:
    inputs = [
        {"name": name, "shape": a.shape, "datatype": "FP32", "parameters": {"binary_data_size": a.nbytes}}
        for name, a in tensors.items()
    ]
    wanted = [{"name": name, "parameters": {"binary_data": True}} for name in outputs]
    described = _json({"parameters": parameters, "inputs": inputs, "outputs": wanted})
    content = b"".join(array.tobytes() for array in tensors.values())
    headers = {_HEADER: str(len(described)), "content-type": "application/octet-stream"}
    return prepared(_PATH, described + content, headers)


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _described(body: bytes, output: str) -> tuple[dict[str, Any], int]:
    """The description of an output, and where the JSON part of the answer ends."""
    answer, end = json.JSONDecoder().raw_decode(body.decode("latin-1"))
    names = [tensor["name"] for tensor in answer["outputs"]]
    return answer["outputs"][names.index(output)], end


def _binary_numbers(body: bytes, output: str) -> Sequence[float]:
    """The numbers of the first output that was asked for: servers write outputs in that order."""
    _, end = _described(body, output)
    return list(np.frombuffer(body, "<f4", QUANTILES, offset=end).tolist())
