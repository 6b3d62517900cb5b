"""Triton's blocking client, used as its documentation shows it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from tests.known_graphs import FAILING_VALUE
from tests.known_models import NEXT_TOKEN, RUNNING_SUM
from tests.service.protocols.inference_v2.grpc_clients import centres, parameters, tensor, values
from tests.service.protocols.serving import COVARIATE_SUM, STATIC_SUM, Served


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(served.grpc_address) as opened:
        yield opened


def test_it_is_alive_and_ready(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready(RUNNING_SUM) and client.is_model_ready(RUNNING_SUM, "1")
    assert not client.is_model_ready(RUNNING_SUM, "2") and not client.is_model_ready("nothing")


def test_it_tells_what_http_tells(served: Served, client: triton.InferenceServerClient) -> None:
    server = client.get_server_metadata(as_json=True)
    assert server == served.client.get("/v2").json()
    model = client.get_model_metadata(RUNNING_SUM)
    told = served.client.get(f"/v2/models/{RUNNING_SUM}").json()
    assert (model.name, list(model.versions), model.platform) == (told["name"], told["versions"], told["platform"])
    for field in ("inputs", "outputs"):
        tensors = [
            {"name": each.name, "datatype": each.datatype, "shape": list(each.shape)} for each in getattr(model, field)
        ]
        assert tensors == told[field]


def test_a_configuration_says_that_models_keep_sequences(client: triton.InferenceServerClient) -> None:
    config = client.get_model_config(RUNNING_SUM, as_json=True)["config"]
    assert "oldest" in config["sequence_batching"] and config["max_batch_size"] > 1
    assert [(each["name"], each["data_type"]) for each in config["input"]] == [("target", "TYPE_FP32")]


def test_statistics_count_what_was_inferred(client: triton.InferenceServerClient) -> None:
    def counted() -> int:
        (told,) = client.get_inference_statistics(RUNNING_SUM).model_stats
        assert (told.name, told.version) == (RUNNING_SUM, "1")
        return int(told.inference_count)

    before = counted()
    client.infer(RUNNING_SUM, values(1, 2))
    assert counted() > before
    assert len(client.get_inference_statistics().model_stats) > 1


def test_a_request_without_a_sequence_starts_each_row_anew(client: triton.InferenceServerClient) -> None:
    for _ in range(2):
        result = client.infer(RUNNING_SUM, [tensor("target", [[1, 2, 3], [10, 20, 30]])], request_id="r")
        quantiles = result.as_numpy("quantiles")
        assert quantiles.shape == (2, 3, 3) and np.isnan(quantiles[:, 0]).all()
        assert quantiles[:, 1:, 1].tolist() == [[1, 3], [10, 30]]
        assert result.get_response().id == "r" and result.get_response().model_version == "1"


def test_it_answers_what_http_answers(served: Served, client: triton.InferenceServerClient) -> None:
    row = [0.1, 0.7, 1e-3]
    over_http = served.post(
        f"/v2/models/{RUNNING_SUM}/infer",
        {"inputs": [{"name": "target", "datatype": "FP32", "shape": [1, 3], "data": row}]},
    ).json()
    result = client.infer(RUNNING_SUM, values(*row))
    for output in over_http["outputs"]:
        told = np.array(output["data"], np.float32).reshape(output["shape"])
        assert told.tobytes() == result.as_numpy(output["name"]).tobytes()


def test_a_sequence_goes_on_from_request_to_request(client: triton.InferenceServerClient) -> None:
    assert centres(client.infer(RUNNING_SUM, values(1, 2), sequence_id=42, sequence_start=True)) == [-1, 1]
    again = client.infer(RUNNING_SUM, values(4), sequence_id=42)
    assert centres(again) == [3] and parameters(again)["position"] == 3
    assert centres(client.infer(RUNNING_SUM, values(8), sequence_id=42, sequence_end=True)) == [7]
    with pytest.raises(InferenceServerException, match="sequence_start") as error:
        client.infer(RUNNING_SUM, values(1), sequence_id=42)
    assert error.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_a_start_begins_anew(client: triton.InferenceServerClient) -> None:
    for _ in range(2):
        assert centres(client.infer(RUNNING_SUM, values(5, 0), sequence_id="pump", sequence_start=True)) == [-1, 5]


def test_a_number_and_a_text_are_two_sequences(client: triton.InferenceServerClient) -> None:
    client.infer(RUNNING_SUM, values(1), sequence_id=7, sequence_start=True)
    client.infer(RUNNING_SUM, values(2), sequence_id="7", sequence_start=True)
    assert centres(client.infer(RUNNING_SUM, values(0), sequence_id=7)) == [1]
    assert centres(client.infer(RUNNING_SUM, values(0), sequence_id="7")) == [2]


def test_the_sequence_is_a_session_like_any_other(served: Served, client: triton.InferenceServerClient) -> None:
    client.infer(RUNNING_SUM, values(1, 2), sequence_id=1001, sequence_start=True)
    assert served.observe(f"{RUNNING_SUM}:1001", values=[4])["quantiles"]["values"][0][1] == 3


def test_outputs_come_as_they_are_asked_for(client: triton.InferenceServerClient) -> None:
    asked = [triton.InferRequestedOutput("pit")]
    result = client.infer(RUNNING_SUM, values(1, 2), outputs=asked)
    assert [output.name for output in result.get_response().outputs] == ["pit"]
    assert result.as_numpy("pit").shape == (1, 2) and result.as_numpy("quantiles") is None


def test_a_forecast_comes_with_the_values(client: triton.InferenceServerClient) -> None:
    result = client.infer(RUNNING_SUM, values(1, 2), parameters={"horizon": 3, "seed": 1})
    assert result.as_numpy("forecast_mean").shape == (1, 3)
    assert result.as_numpy("forecast_quantiles").shape == (1, 3, 3)


def test_covariates_and_static_values_are_taken(client: triton.InferenceServerClient) -> None:
    covariates = tensor("covariates", [[[10.0], [20.0]]])
    result = client.infer(COVARIATE_SUM, [*values(1, 2), covariates])
    assert centres(result) == [-1, 21]
    parameters = {"static_covariates": '{"level": 100}'}
    assert centres(client.infer(STATIC_SUM, values(1, 2), parameters=parameters)) == [-1, 101]


def test_tokens_are_scored(client: triton.InferenceServerClient) -> None:
    result = client.infer(NEXT_TOKEN, [tensor("tokens", [[2, 3, 4]], "INT64")])
    assert np.allclose(np.exp(result.as_numpy("log_probabilities")[0]), 0.9)


def test_elements_may_come_compressed(client: triton.InferenceServerClient) -> None:
    for algorithm in ("gzip", "deflate"):
        result = client.infer(RUNNING_SUM, values(*range(100)), compression_algorithm=algorithm)
        assert centres(result)[-1] == sum(range(99))


def test_a_request_sent_again_is_not_carried_out_again(client: triton.InferenceServerClient) -> None:
    client.infer(RUNNING_SUM, values(1), sequence_id=43, sequence_start=True)
    answers = [
        client.infer(RUNNING_SUM, values(2), sequence_id=43, parameters={"idempotency_key": "a"}) for _ in range(2)
    ]
    assert [centres(answer) for answer in answers] == [[1], [1]]
    assert [parameters(answer)["position"] for answer in answers] == [2, 2]
    assert parameters(answers[1])["repeated"] is True


def test_a_conflict_is_told_with_both_positions(client: triton.InferenceServerClient) -> None:
    client.infer(RUNNING_SUM, values(1), sequence_id=44, sequence_start=True)
    with pytest.raises(InferenceServerException) as error:
        client.infer(RUNNING_SUM, values(2), sequence_id=44, parameters={"position": 9})
    assert error.value.status() == "StatusCode.ABORTED" and "9" in error.value.message()


def test_a_failed_step_leaves_the_sequence_where_it_was(client: triton.InferenceServerClient) -> None:
    client.infer(RUNNING_SUM, values(1), sequence_id=45, sequence_start=True)
    with pytest.raises(InferenceServerException) as error:
        client.infer(RUNNING_SUM, values(FAILING_VALUE), sequence_id=45)
    assert error.value.status() == "StatusCode.INTERNAL"
    assert centres(client.infer(RUNNING_SUM, values(1), sequence_id=45)) == [1]


@pytest.mark.parametrize(
    ("model", "version", "inputs", "status", "said"),
    [
        ("nothing", "", values(1), "NOT_FOUND", "nothing"),
        (RUNNING_SUM, "2", values(1), "NOT_FOUND", "version: expected one of 1"),
        (RUNNING_SUM, "first", values(1), "NOT_FOUND", "first"),
        (RUNNING_SUM, "", values(1, name="x"), "INVALID_ARGUMENT", "takes target"),
        (RUNNING_SUM, "", [], "INVALID_ARGUMENT", "'target'"),
        (RUNNING_SUM, "", [tensor("target", [[1]], "INT64")], "INVALID_ARGUMENT", "expected datatype FP32"),
        (RUNNING_SUM, "", [tensor("target", [1.0])], "INVALID_ARGUMENT", "expected shape"),
        (RUNNING_SUM, "", values(*range(3000)), "RESOURCE_EXHAUSTED", "2000"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_the_reason(
    client: triton.InferenceServerClient,
    model: str,
    version: str,
    inputs: list[triton.InferInput],
    status: str,
    said: str,
) -> None:
    with pytest.raises(InferenceServerException) as error:
        client.infer(model, inputs, model_version=version)
    assert error.value.status() == f"StatusCode.{status}" and said in error.value.message()


@pytest.mark.parametrize("letter", ["x", "序", "🌊"])
def test_a_long_message_is_cut_so_that_its_status_arrives(client: triton.InferenceServerClient, letter: str) -> None:
    with pytest.raises(InferenceServerException) as error:
        client.infer(RUNNING_SUM, values(1), sequence_id=letter * 40_000)
    assert error.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert error.value.message().startswith("parameters.sequence_id") and len(error.value.message()) < 1000


def test_an_unknown_parameter_is_refused(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="temperature"):
        client.infer(RUNNING_SUM, values(1), parameters={"temperature": 0.5})


def test_what_is_not_implemented_says_so_by_name(client: triton.InferenceServerClient) -> None:
    calls = {
        "SystemSharedMemoryStatus": client.get_system_shared_memory_status,
        "TraceSetting": client.get_trace_settings,
        "LogSettings": client.get_log_settings,
    }
    for name, method in calls.items():
        with pytest.raises(InferenceServerException, match=name) as error:
            method()
        assert error.value.status() == "StatusCode.UNIMPLEMENTED"
