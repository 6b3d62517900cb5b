"""Valid inputs, from which the changed ones are made; ids and models are those of the fuzzed server."""

from __future__ import annotations

import hashlib
import hmac
import json
import struct
from typing import Any

from service.protocols.inference_v2 import inference_pb2 as grpc_messages
from service.protocols.native.frames import HEADER

FORECASTER, WRITER, COVARIATE = "running-sum", "next-token", "covariate-sum"
FORECAST_SESSION, TEXT_SESSION, COVARIATE_SESSION = "fuzz-forecast", "fuzz-text", "fuzz-covariate"
SESSIONS = {FORECAST_SESSION: FORECASTER, TEXT_SESSION: WRITER, COVARIATE_SESSION: COVARIATE}

_JSON = "Content-Type: application/json"
_BINARY = "Content-Type: application/octet-stream"
OPEN = ["POST /v1/sessions HTTP/1.1", _JSON]

_TENSOR = {"name": "target", "shape": [1, 3], "datatype": "FP32", "data": [1.0, None, 3.0]}
_TOKENS = {"name": "tokens", "shape": [1, 2], "datatype": "INT64", "data": [1, 2]}
_SEQUENCE = {"sequence_id": 7, "sequence_start": True, "sequence_end": False}
_SERIES = {
    "type": "univariate_time_series",
    "name": "a",
    "series": [1.0, 2.0, None, 4.0],
    "frequency": "1h",
    "start_timestamp": "2024-07-01T00:00:00Z",
}


def _session(session: str, what: str) -> list[str]:
    return [f"POST /v1/sessions/{session}/{what} HTTP/1.1", _JSON, "Idempotency-Key: fuzz"]


JSON_REQUESTS: list[tuple[list[str], Any]] = [
    (OPEN, {"model": FORECASTER, "first_timestamp": "2024-07-01T00:00:00Z", "seed": 1, "time_to_live_s": 2}),
    (OPEN, [{"model": WRITER, "version": 1, "durability": "async"}, {"model": FORECASTER, "durability": "none"}]),
    (_session(FORECAST_SESSION, "observe")[:2], {"values": [1.0, 2.5, None], "position": 0}),
    (_session(FORECAST_SESSION, "observe"), {"values": [1.0]}),
    (_session(FORECAST_SESSION, "observe")[:2], {"values": [1.0, 2.0], "timestamps": ["2024-07-01", "2024-07-02"]}),
    (_session(COVARIATE_SESSION, "observe")[:2], {"values": [1], "future_covariates": {"temperature": [20.5]}}),
    (_session(TEXT_SESSION, "observe")[:2], {"text": "abc"}),
    (_session(TEXT_SESSION, "observe")[:2], {"tokens": [1, 2, 3]}),
    (_session(FORECAST_SESSION, "forecast"), {"horizon": 3, "quantiles": [0.1, 0.9], "samples": 4, "seed": 2}),
    (
        _session(COVARIATE_SESSION, "forecast"),
        {"horizon": 2, "future_covariates": {"temperature": [1, 2]}, "samples": 2},
    ),
    (
        _session(COVARIATE_SESSION, "forecast"),
        {"horizon": 1, "scenarios": {"a": {"temperature": [1]}, "b": {"temperature": [2]}}, "aggregate": ["sum"]},
    ),
    (
        ["POST /v1/forecast HTTP/1.1", _JSON],
        {"sessions": [{"session_id": FORECAST_SESSION, "horizon": 2, "levels": [0.8], "aggregate": ["max"]}]},
    ),
    (_session(FORECAST_SESSION, "generate"), {"steps": 3, "seed": 1}),
    (_session(TEXT_SESSION, "generate"), {"max_tokens": 5, "temperature": 0.5, "top_p": 0.9, "stop": ["b"], "seed": 1}),
    (_session(TEXT_SESSION, "generate")[:2], {"max_tokens": 5, "stream": True}),
    (_session(FORECAST_SESSION, "fork"), {"seed": 3}),
    (_session(FORECAST_SESSION, "migrate"), {"version": 1}),
    (
        ["POST /v1/observe HTTP/1.1", _JSON],
        {"sessions": [{"session_id": FORECAST_SESSION, "values": [1]}, {"session_id": TEXT_SESSION, "text": "ab"}]},
    ),
    (
        ["POST /v1/completions HTTP/1.1", _JSON],
        {"model": WRITER, "prompt": ["ab", "c"], "max_tokens": 4, "n": 2, "stop": "z", "seed": 1, "temperature": 1},
    ),
    (
        ["POST /v1/completions HTTP/1.1", _JSON],
        {"model": WRITER, "prompt": "ab", "session_id": TEXT_SESSION, "stream": True, "max_tokens": 3},
    ),
    (
        ["POST /v1/timeseries/forecast HTTP/1.1", _JSON],
        {
            "model": FORECASTER,
            "inputs": [_SERIES],
            "options": {"horizon": 3, "quantiles": [0.1, 0.5], "levels": [0.9], "samples": 2, "aggregate": ["mean"]},
        },
    ),
    (
        ["POST /v1/timeseries/forecast HTTP/1.1", _JSON],
        {
            "model": FORECASTER,
            "inputs": [_SERIES | {"session_id": FORECAST_SESSION}, _SERIES | {"series": [[1, 2], [3, 4]]}],
            "options": {"horizon": 1},
        },
    ),
    (
        ["POST /invocations HTTP/1.1", _JSON, f"X-Amzn-SageMaker-Target-Model: {FORECASTER}"],
        {
            "instances": [{"start": "2024-07-01 00:00:00", "target": [1.0, "NaN", 3]}],
            "configuration": {"num_samples": 5, "output_types": ["mean", "quantiles", "samples"], "quantiles": ["0.1"]},
        },
    ),
    (
        ["POST /invocations HTTP/1.1", _JSON, f"X-Amzn-SageMaker-Session-Id: {FORECAST_SESSION}"],
        {"instances": [{"target": [1.0]}], "position": 1},
    ),
    (["POST /invocations HTTP/1.1", _JSON], {"requestType": "NEW_SESSION", "model": FORECASTER, "seed": 1}),
    (
        [f"POST /v2/models/{FORECASTER}/infer HTTP/1.1", _JSON],
        {"id": "1", "inputs": [_TENSOR], "parameters": _SEQUENCE, "outputs": [{"name": "quantiles"}]},
    ),
    (
        [f"POST /v2/models/{FORECASTER}/infer HTTP/1.1", _JSON],
        {"inputs": [_TENSOR], "parameters": {"sequence_id": 7, "horizon": 2}, "outputs": [{"name": "forecast.mean"}]},
    ),
    ([f"POST /v2/models/{WRITER}/infer HTTP/1.1", _JSON], {"inputs": [_TOKENS], "parameters": {"sequence_id": "t"}}),
    (
        [f"POST /v2/models/{WRITER}/generate HTTP/1.1", _JSON],
        {"text_input": "ab", "parameters": {"max_tokens": 3, "stop": ["z"], "sequence_id": 3, "sequence_start": True}},
    ),
    ([f"POST /v2/models/{WRITER}/generate_stream HTTP/1.1", _JSON], {"text_input": "ab", "max_tokens": 3, "top_p": 1}),
    (["POST /v2/repository/index HTTP/1.1", _JSON], {"ready": True}),
    ([f"POST /v2/repository/models/{WRITER}/load HTTP/1.1", _JSON], {"parameters": {}}),
]


def _binary_infer() -> tuple[list[str], bytes]:
    tensor = {"name": "target", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}
    asked = {"inputs": [tensor], "parameters": {"binary_data_output": True, "sequence_id": 9, "sequence_start": True}}
    head = json.dumps(asked).encode()
    lines = [f"POST /v2/models/{FORECASTER}/infer HTTP/1.1", _BINARY, f"Inference-Header-Content-Length: {len(head)}"]
    return lines, head + struct.pack("<2f", 1.0, 2.0)


def steps(*rows: tuple[float, ...], number: int = 1, position: int = -1) -> bytes:
    """A binary frame that observes."""
    head = HEADER.pack(b"UN", 1, 1, len(rows), len(rows[0]), 0, number, position, 0)
    return head + b"".join(struct.pack(f"<{len(row)}f", *row) for row in rows)


def _record(session: str, frame: bytes) -> bytes:
    return struct.pack("<H", len(session)) + session.encode() + frame


BINARY_REQUESTS: list[tuple[list[str], bytes]] = [
    _binary_infer(),
    (
        [f"POST /v2/models/{FORECASTER}/infer HTTP/1.1", _BINARY, "Inference-Header-Content-Length: 0"],
        struct.pack("<3f", 1.0, 2.0, 3.0),
    ),
    (
        ["POST /v1/observe HTTP/1.1", _BINARY],
        _record(FORECAST_SESSION, steps((1.0,), (2.0,))) + _record(COVARIATE_SESSION, steps((1.0, 20.0))),
    ),
    (["POST /invocations HTTP/1.1", "Content-Type: application/jsonlines"], b'{"target":[1,2]}\n{"target":[3]}\n'),
]
_OTHERS: list[tuple[list[str], bytes]] = [
    ([f"GET {path} HTTP/1.1"], b"")
    for path in (
        *("/v1/models", f"/v1/models/{FORECASTER}/1", "/v1/sessions?limit=2", f"/v1/sessions/{FORECAST_SESSION}"),
        *("/v2", f"/v2/models/{FORECASTER}/config", "/v2/models/stats", "/metrics", "/health/ready", "/openapi.json"),
        *(f"/v1/sessions/{TEXT_SESSION}/snapshot", "/ping", "/v2/health/live"),
    )
]
REQUESTS: list[tuple[list[str], bytes]] = [
    *((head, json.dumps(body).encode()) for head, body in JSON_REQUESTS),
    *BINARY_REQUESTS,
    *_OTHERS,
]

TEXT_FRAMES: dict[str, list[Any]] = {
    FORECAST_SESSION: [
        {"type": "observe", "values": [1.0, None], "id": 1},
        {"type": "observe", "values": [1.0], "position": 3, "idempotency_key": "k", "id": "a"},
        {"type": "forecast", "horizon": 3, "samples": 2, "id": 2},
        {"type": "generate", "steps": 2, "seed": 1},
        {"type": "session", "id": 5},
        {"type": "fork", "seed": 5},
        {"type": "cancel"},
    ],
    TEXT_SESSION: [
        {"type": "observe", "text": "abc"},
        {"type": "observe", "tokens": [1, 2]},
        {"type": "generate", "max_tokens": 5, "stop": ["b"], "temperature": 0.3, "id": 1},
        {"type": "cancel", "id": 1},
    ],
    COVARIATE_SESSION: [{"type": "observe", "values": [1.0], "future_covariates": {"temperature": [1.0]}}],
}
BINARY_FRAMES: dict[str, list[bytes]] = {
    FORECAST_SESSION: [steps((1.0,), (2.0,)), steps((float("nan"),), number=7, position=0)],
    TEXT_SESSION: [steps((1.0,))],
    COVARIATE_SESSION: [steps((1.0, 20.0))],
}


def _infer(**parameters: Any) -> bytes:
    message = grpc_messages.ModelInferRequest(model_name=FORECASTER, id="1")
    tensor = message.inputs.add(name="target", datatype="FP32", shape=[1, 2])
    tensor.contents.fp32_contents.extend([1.0, 2.0])
    for name, value in parameters.items():
        kind = "bool_param" if isinstance(value, bool) else "int64_param" if isinstance(value, int) else "string_param"
        setattr(message.parameters[name], kind, value)
    return message.SerializeToString()


def _raw_infer() -> bytes:
    message = grpc_messages.ModelInferRequest(model_name=FORECASTER, raw_input_contents=[struct.pack("<2f", 1, 2)])
    message.inputs.add(name="target", datatype="FP32", shape=[1, 2])
    return message.SerializeToString()


GRPC_CALLS: list[tuple[str, bytes]] = [
    ("ModelInfer", _infer()),
    ("ModelInfer", _infer(sequence_id=11, sequence_start=True, horizon=2)),
    ("ModelInfer", _infer(sequence_id="eleven", sequence_start=True, sequence_end=True, seed=1)),
    ("ModelInfer", _raw_infer()),
    ("ModelMetadata", grpc_messages.ModelMetadataRequest(name=FORECASTER, version="1").SerializeToString()),
    ("ModelConfig", grpc_messages.ModelConfigRequest(name=WRITER).SerializeToString()),
    ("ModelStatistics", grpc_messages.ModelStatisticsRequest(name=WRITER).SerializeToString()),
    ("ModelReady", grpc_messages.ModelReadyRequest(name=WRITER).SerializeToString()),
    ("RepositoryIndex", grpc_messages.RepositoryIndexRequest(ready=True).SerializeToString()),
    ("RepositoryModelLoad", grpc_messages.RepositoryModelLoadRequest(model_name=WRITER).SerializeToString()),
    ("ServerMetadata", b""),
]


def signed(content: bytes, key: bytes) -> bytes:
    """Any content as a snapshot that is believed: with its checksum, and signed as `snapshot.seal` does."""
    content += hashlib.sha256(content).digest()
    return content + hmac.digest(key, b"unroll snapshot of a session" + content, "sha256")
