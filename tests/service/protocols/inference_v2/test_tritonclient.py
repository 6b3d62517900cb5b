"""Triton's own HTTP client, `tritonclient.http`, works against the service as it is: JSON and binary."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from tests.service.protocols.inference_v2.asking import MODEL, TEXT
from tests.service.protocols.serving import COVARIATE_SUM, Served, serve

_numbers = count(30_000)


def connected(served: Served) -> Any:
    return triton.InferenceServerClient(served.url.removeprefix("http://"), concurrency=4)


@pytest.fixture
def client(served: Served) -> Iterator[Any]:
    with connected(served) as client:
        yield client


def tensor(name: str, values: NDArray[Any], *, binary: bool = True) -> Any:
    datatype = {"f": "FP32", "i": "INT64"}[values.dtype.kind]
    return triton.InferInput(name, list(values.shape), datatype).set_data_from_numpy(values, binary_data=binary)


def target(*values: float, binary: bool = True) -> Any:
    return tensor("target", np.array([values], np.float32), binary=binary)


def centres(result: Any) -> list[float]:
    return [float(value) for value in result.as_numpy("quantiles")[0, :, 1]]


def test_health_and_readiness(client: Any) -> None:
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready(MODEL) and client.is_model_ready(MODEL, "1")
    assert not client.is_model_ready("nobody") and not client.is_model_ready(MODEL, "2")


def test_metadata_configuration_and_statistics(client: Any) -> None:
    assert client.get_server_metadata()["name"] == "unroll"
    assert client.get_model_metadata(MODEL)["inputs"][0]["name"] == "target"
    assert client.get_model_metadata(MODEL, "1")["versions"] == ["1"]
    assert "sequence_batching" in client.get_model_config(MODEL)
    assert client.get_model_config(MODEL, "1")["max_batch_size"] > 0
    assert client.get_inference_statistics(MODEL, "1")["model_stats"][0]["name"] == MODEL
    assert len(client.get_inference_statistics()["model_stats"]) > 1


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
def test_inference_in_every_encoding(client: Any, binary: bool, binary_out: bool | None) -> None:
    asked = ["quantiles", "pit"] if binary_out is not None else []
    outputs = [triton.InferRequestedOutput(name, binary_data=binary_out) for name in asked] or None
    result = client.infer(MODEL, [target(1, 2, 4, binary=binary)], outputs=outputs, request_id="mine")
    assert result.get_response()["id"] == "mine" and result.get_response()["model_version"] == "1"
    quantiles, pit = result.as_numpy("quantiles"), result.as_numpy("pit")
    assert quantiles.dtype == pit.dtype == np.float32
    assert np.isnan(quantiles[0, 0]).all() and quantiles[0, 1:].tolist() == [[0, 1, 2], [2, 3, 4]]
    # The raw bytes are exact; so are the digits, which are as many as a number needs.
    assert np.array_equal(pit, [[np.nan, 0.75, 0.75]], equal_nan=True)


@pytest.mark.parametrize("binary", [True, False])
def test_a_missing_value_is_nan(client: Any, binary: bool) -> None:
    result = client.infer(MODEL, [target(1, float("nan"), 3, binary=binary)])
    assert np.isnan(result.as_numpy("pit")[0]).tolist() == [True, True, False]
    assert centres(result)[2] == 1


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("kind", [int, str])
def test_a_sequence(client: Any, binary: bool, kind: type) -> None:
    number = kind(next(_numbers))
    client.infer(MODEL, [target(1, 2, binary=binary)], sequence_id=number, sequence_start=True)
    result = client.infer(MODEL, [target(4, binary=binary)], sequence_id=number)
    assert centres(result) == [3]
    assert result.get_response()["parameters"] == {"sequence_id": number, "position": 3, "durable_position": 0}
    client.infer(MODEL, [target(1, binary=binary)], sequence_id=number, sequence_end=True)
    with pytest.raises(InferenceServerException, match="its first request needs sequence_start") as refused:
        client.infer(MODEL, [target(1, binary=binary)], sequence_id=number)
    assert refused.value.status() == "400"


def test_parameters_of_ones_own(client: Any) -> None:
    number = next(_numbers)
    known = [tensor("target", np.array([[1, 2]], np.float32)), tensor("covariates", np.zeros((1, 2, 1), np.float32))]
    ahead = tensor("future_covariates", np.full((1, 3, 1), 100, np.float32))
    result = client.infer(
        *(COVARIATE_SUM, [*known, ahead]),
        **{"sequence_id": number, "sequence_start": True, "parameters": {"horizon": 3, "seed": 1}},
    )
    assert result.as_numpy("forecast_mean").shape == (1, 3) and result.as_numpy("forecast_mean").min() > 100
    assert result.as_numpy("forecast_quantiles").shape == (1, 3, 3)
    again = [
        client.infer(COVARIATE_SUM, known, sequence_id=number, parameters={"position": 2, "idempotency_key": "k"})
        for _ in range(2)
    ]
    assert again[1].get_response()["parameters"]["repeated"]
    assert again[0].as_numpy("pit").tobytes() == again[1].as_numpy("pit").tobytes()
    with pytest.raises(InferenceServerException, match="expected position 9, but it is at 4") as conflict:
        client.infer(COVARIATE_SUM, known, sequence_id=number, parameters={"position": 9})
    assert conflict.value.status() == "409"


def test_tokens(client: Any) -> None:
    result = client.infer(TEXT, [tensor("tokens", np.array([[1, 2, 3]], np.int64))])
    assert result.as_numpy("log_probabilities").shape == (1, 3)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compression(client: Any, coding: str) -> None:
    values = np.arange(400, dtype=np.float32)[np.newaxis]
    plain = client.infer(MODEL, [tensor("target", values)])
    packed = client.infer(
        *(MODEL, [tensor("target", values)]),
        request_compression_algorithm=coding,
        response_compression_algorithm=coding,
    )
    assert packed.as_numpy("quantiles").tobytes() == plain.as_numpy("quantiles").tobytes()


def test_requests_at_once(client: Any) -> None:
    numbers = [next(_numbers) for _ in range(8)]
    for number in numbers:
        client.infer(MODEL, [target(number)], sequence_id=number, sequence_start=True)
    waiting = [client.async_infer(MODEL, [target(1)], sequence_id=number) for number in numbers]
    assert [centres(one.get_result()) for one in waiting] == [[number] for number in numbers]


def test_bytes_made_and_read_outside_of_the_client(served: Served, client: Any) -> None:
    body, length = client.generate_request_body([target(1, 2)])
    headers = {"Inference-Header-Content-Length": str(length)}
    answer = served.client.post(f"/v2/models/{MODEL}/infer", content=body, headers=headers)
    header = int(answer.headers["Inference-Header-Content-Length"])
    result = client.parse_response_body(answer.content, header_length=header)
    assert centres(result)[1] == 1


def test_priority_and_time_out_are_taken_and_change_nothing(client: Any) -> None:
    result = client.infer(MODEL, [target(1, 2)], priority=1, timeout=1000)
    assert centres(result)[1] == 1


def test_shared_memory_and_classification_are_refused_by_name(client: Any) -> None:
    shared = triton.InferInput("target", [1, 1], "FP32").set_shared_memory("region", 4)
    with pytest.raises(InferenceServerException, match="shared_memory_region: unknown parameter"):
        client.infer(MODEL, [shared])
    with pytest.raises(InferenceServerException, match="classification: expected nothing but binary_data"):
        client.infer(MODEL, [target(1)], outputs=[triton.InferRequestedOutput("pit", class_count=2)])
    for ask in (client.get_system_shared_memory_status, client.get_trace_settings, client.get_log_settings):
        with pytest.raises(InferenceServerException, match="nothing is served here"):
            ask()


def test_errors_tell_what_was_expected(client: Any) -> None:
    with pytest.raises(InferenceServerException, match="got 'nobody'") as unknown:
        client.infer("nobody", [target(1)])
    assert unknown.value.status() == "404"
    with pytest.raises(InferenceServerException, match="expected datatype FP32, got INT64") as misfit:
        client.infer(MODEL, [tensor("target", np.array([[1]], np.int64))])
    assert misfit.value.status() == "400"


def test_a_model_is_unloaded_and_loaded(running_sum_models: Path) -> None:
    with serve(running_sum_models) as served, connected(served) as client:
        client.infer(MODEL, [target(1, 2)], sequence_id=1, sequence_start=True)
        client.unload_model(MODEL)
        assert client.get_model_repository_index() == [
            {"name": MODEL, "version": "1", "state": "UNAVAILABLE", "reason": "it was unloaded"}
        ]
        assert not client.is_model_ready(MODEL) and not client.is_server_ready()
        assert centres(client.infer(MODEL, [target(1)], sequence_id=1)) == [3]
        client.load_model(MODEL)
        assert client.is_model_ready(MODEL)
        with pytest.raises(InferenceServerException, match="models are loaded as they were published"):
            client.load_model(MODEL, config="{}")
