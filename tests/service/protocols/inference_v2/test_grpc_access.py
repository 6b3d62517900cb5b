"""API keys over gRPC: what each method asks for, callers at the same time and on streams, keys that are taken back."""

from __future__ import annotations

import os
import queue
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
import tritonclient.grpc as triton
from grpc import StatusCode

from service.protocols.inference_v2 import inference_pb2 as messages
from service.protocols.inference_v2.grpc_methods import ALWAYS, METHODS
from tests.known_models import RUNNING_SUM
from tests.service.protocols.inference_v2.grpc_clients import SERVICE, call, channel, values
from tests.service.protocols.keyed import KEYS, WRONG, keyed, write
from tests.service.protocols.serving import Served

NEEDED = {
    "ServerLive": None,
    "ServerReady": None,
    "ModelReady": "predict",
    "ServerMetadata": "predict",
    "ModelMetadata": "predict",
    "ModelConfig": "predict",
    "ModelStatistics": "predict",
    "ModelInfer": "predict",
    "RepositoryIndex": "predict",
    "RepositoryModelLoad": "admin",
    "RepositoryModelUnload": "admin",
}
HOLDERS = {
    "predict": {"alice", "bob", "reader"},
    "admin": {"operator"},
}
Metadata = tuple[tuple[str, str], ...]


def bearing(key: str) -> Metadata:
    return (("authorization", f"Bearer {key}"),)


def of(name: str) -> Metadata:
    return bearing(KEYS[name])


@pytest.fixture
def served(running_sum_models: Path, tmp_path: Path) -> Iterator[Served]:
    with keyed(running_sum_models, tmp_path, grpc_port=0) as running:
        yield running


def status(served: Served, method: str, metadata: Metadata, content: bytes = b"") -> StatusCode:
    with channel(served.grpc_address) as opened:
        answer: Any = opened.unary_unary(SERVICE + method)
        try:
            answer(content, metadata=metadata)
        except grpc.RpcError as error:
            return error.code()
    return StatusCode.OK


def test_every_method_is_told_of_here() -> None:
    assert (ALWAYS | METHODS).keys() == NEEDED.keys()


@pytest.mark.parametrize("metadata", [(), bearing(WRONG), (("x-api-key", WRONG),), (("authorization", WRONG),)])
def test_without_a_known_key_only_liveness_and_readiness_answer(served: Served, metadata: Metadata) -> None:
    for method, needed in [*NEEDED.items(), ("NoSuchMethod", "predict")]:
        expected = StatusCode.OK if needed is None else StatusCode.UNAUTHENTICATED
        assert status(served, method, metadata) == expected, method
    code, details, trailing = call(served.grpc_address, SERVICE + "ModelInfer", b"", metadata=metadata)
    assert code == StatusCode.UNAUTHENTICATED and trailing["unroll-code"] == "invalid_api_key"
    assert WRONG not in details + str(trailing)


def test_each_method_asks_for_its_right(served: Served) -> None:
    for method, needed in NEEDED.items():
        for name in KEYS:
            allowed = needed is None or name in HOLDERS[needed]
            assert (status(served, method, of(name)) != StatusCode.PERMISSION_DENIED) == allowed, (method, name)


def infer(client: triton.InferenceServerClient, name: str, **more: Any) -> triton.InferResult:
    return client.infer(RUNNING_SUM, values(1.0), headers=dict(of(name)), **more)


def test_inference_asks_for_one_right_in_a_sequence_and_another_without(served: Served) -> None:
    with triton.InferenceServerClient(served.grpc_address) as client:
        infer(client, "reader")
        infer(client, "keeper", sequence_id=5, sequence_start=True)
        for name, more in (
            ("keeper", {}),
            ("reader", {"sequence_id": 5}),
            ("operator", {}),
            ("operator", {"sequence_id": 5}),
        ):
            with pytest.raises(Exception, match="needs an API key with the right"):
                infer(client, name, **more)


def position(result: triton.InferResult) -> int:
    return int(result.get_response().parameters["position"].int64_param)


def test_callers_at_the_same_time_are_each_their_own(served: Served) -> None:
    with triton.InferenceServerClient(served.grpc_address) as client, ThreadPoolExecutor(8) as threads:
        for name in ("alice", "bob", "keeper"):
            infer(client, name, sequence_id=9, sequence_start=True)
        rounds = 20
        answers = list(
            threads.map(lambda name: infer(client, name, sequence_id=9), ["alice", "bob", "keeper"] * rounds)
        )
        assert sorted(map(position, answers)) == sorted([*range(2, rounds + 2)] * 3)


def asking(sequence: int, *, start: bool = False, model: str = RUNNING_SUM) -> bytes:
    message = messages.ModelInferRequest(model_name=model)
    message.parameters["sequence_id"].int64_param = sequence
    message.parameters["sequence_start"].bool_param = start
    tensor = message.inputs.add(name="target", datatype="FP32", shape=[1, 1])
    tensor.contents.fp32_contents.append(1.0)
    content: bytes = message.SerializeToString()
    return content


def test_a_stream_is_refused_without_a_key_and_keeps_to_its_callers_sequences(served: Served) -> None:
    with channel(served.grpc_address) as opened:
        method: Any = opened.stream_stream(SERVICE + "ModelStreamInfer")
        with pytest.raises(grpc.RpcError) as refused:
            list(method(iter([asking(1, start=True)]), metadata=bearing(WRONG)))
        assert refused.value.code() == StatusCode.UNAUTHENTICATED

        def answers(name: str, *requests: bytes) -> list[messages.ModelStreamInferResponse]:
            return [
                messages.ModelStreamInferResponse.FromString(one) for one in method(iter(requests), metadata=of(name))
            ]

        for name in ("alice", "keeper"):
            found = answers(name, asking(3, start=True), asking(3), asking(4, start=True))
            assert sorted(one.infer_response.parameters["position"].int64_param for one in found) == [1, 1, 2]
        (unknown,) = answers("bob", asking(3))
        assert "no sequence" in unknown.error_message
        (refusal,) = answers("reader", asking(3))
        assert refusal.infer_response.parameters["unroll-code"].string_param == "not_allowed"


def test_a_key_that_is_taken_back_ends_on_an_open_stream(served: Served, tmp_path: Path) -> None:
    asked: queue.Queue[bytes | None] = queue.Queue()
    with channel(served.grpc_address) as opened:
        method: Any = opened.stream_stream(SERVICE + "ModelStreamInfer")
        answers = method(iter(asked.get, None), metadata=of("alice"))
        asked.put(asking(3, start=True))
        first = messages.ModelStreamInferResponse.FromString(next(answers))
        assert first.infer_response.parameters["position"].int64_param == 1
        path = write(tmp_path / "keys.toml", "bob")
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 10**9))
        served.context.access.look()
        asked.put(asking(3))
        last = messages.ModelStreamInferResponse.FromString(next(answers))
        asked.put(None)
        assert list(answers) == []
    assert last.infer_response.parameters["unroll-code"].string_param == "invalid_api_key"
