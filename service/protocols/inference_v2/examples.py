"""Requests and answers shown on the documentation page; the requests work against the bundled models."""

from __future__ import annotations

from typing import Any

from service.protocols.inference_v2.metadata import server_metadata

SERVER = server_metadata()

MODEL: dict[str, Any] = {
    "name": "pjm-load",
    "versions": ["1"],
    "platform": "onnx_onnxv1",
    "inputs": [{"name": "target", "datatype": "FP32", "shape": [-1, -1]}],
    "outputs": [
        {"name": "quantiles", "datatype": "FP32", "shape": [-1, -1, 11]},
        {"name": "pit", "datatype": "FP32", "shape": [-1, -1]},
    ],
}

CONFIG: dict[str, Any] = {
    "name": "pjm-load",
    "platform": "onnxruntime_onnx",
    "max_batch_size": 256,
    "input": [{"name": "target", "data_type": "TYPE_FP32", "dims": [-1], "optional": False}],
    "output": [{"name": "pit", "data_type": "TYPE_FP32", "dims": [-1]}],
    "sequence_batching": {"max_sequence_idle_microseconds": 86400000000},
}

_COUNTED = {"count": 3, "ns": 412000}
STATISTICS: dict[str, Any] = {
    "model_stats": [
        {
            "name": "pjm-load",
            "version": "1",
            "last_inference": 1767225600000,
            "inference_count": 3,
            "execution_count": 3,
            "inference_stats": {"success": _COUNTED, "queue": _COUNTED, "compute_infer": _COUNTED},
            "batch_stats": [{"batch_size": 1, "compute_infer": _COUNTED}],
        }
    ]
}

INFER: dict[str, Any] = {
    "id": "1",
    "parameters": {
        "sequence_id": 17,
        "sequence_start": True,
        "first_timestamp": "2024-07-01T13:00:00Z",
        "horizon": 2,
        "seed": 7,
    },
    "inputs": [{"name": "target", "datatype": "FP32", "shape": [1, 3], "data": [[31450.0, None, 31720.0]]}],
    "outputs": [{"name": "pit"}, {"name": "forecast_mean"}],
}
INFERRED: dict[str, Any] = {
    "model_name": "pjm-load",
    "model_version": "1",
    "id": "1",
    "parameters": {"sequence_id": 17, "position": 3, "durable_position": 3},
    "outputs": [
        {"name": "pit", "datatype": "FP32", "shape": [1, 3], "data": [None, None, 0.4405314326286316]},
        {"name": "forecast_mean", "datatype": "FP32", "shape": [1, 2], "data": [32376.11328125, 32744.17578125]},
    ],
}

GENERATE: dict[str, Any] = {
    "text_input": "ROMEO:",
    "parameters": {"max_tokens": 40, "temperature": 0.8, "seed": 7},
}
GENERATE_STREAM: dict[str, Any] = {
    "text_input": "ROMEO:",
    "parameters": {"max_tokens": 40, "seed": 7, "sequence_id": "a-play", "sequence_start": True},
}
GENERATED: dict[str, Any] = {
    "model_name": "shakespeare",
    "model_version": "1",
    "text_output": "\n\nKING EDWARD IV:\nNow, sir, no attended ",
    "finish_reason": "length",
}

INDEX: list[dict[str, str]] = [
    {"name": "pjm-load", "version": "1", "state": "READY", "reason": ""},
    {"name": "shakespeare", "version": "1", "state": "READY", "reason": ""},
]
