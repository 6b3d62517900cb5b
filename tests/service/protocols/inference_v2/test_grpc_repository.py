"""Models loaded and unloaded over gRPC."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from service.protocols.inference_v2 import inference_pb2 as messages
from tests import known_models
from tests.known_models import RUNNING_SUM
from tests.service.protocols.inference_v2.grpc_clients import SERVICE, call, centres, values
from tests.service.protocols.serving import Served, serve


@pytest.fixture
def served(running_sum_models: Path) -> Iterator[Served]:
    with serve(running_sum_models, grpc_port=0) as running:
        yield running


@pytest.fixture
def client(served: Served) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(served.grpc_address) as opened:
        yield opened


def states(client: triton.InferenceServerClient) -> dict[str, str]:
    return {f"{each.name}/{each.version}": each.state for each in client.get_model_repository_index().models}


def test_a_model_is_unloaded_and_loaded_again(client: triton.InferenceServerClient) -> None:
    client.infer(RUNNING_SUM, values(1), sequence_id=1, sequence_start=True)
    client.unload_model(RUNNING_SUM)
    assert states(client)[f"{RUNNING_SUM}/1"] == "UNAVAILABLE" and not client.is_model_ready(RUNNING_SUM)
    with pytest.raises(InferenceServerException) as error:
        client.infer(RUNNING_SUM, values(1))
    assert error.value.status() == "StatusCode.NOT_FOUND"
    # Whoever is in the middle of a sequence is not dropped.
    assert centres(client.infer(RUNNING_SUM, values(1), sequence_id=1)) == [1]
    client.load_model(RUNNING_SUM)
    assert states(client)[f"{RUNNING_SUM}/1"] == "READY" and client.is_model_ready(RUNNING_SUM)
    assert centres(client.infer(RUNNING_SUM, values(1), sequence_id=1)) == [2]


def test_a_new_version_is_served_once_it_is_loaded(served: Served, client: triton.InferenceServerClient) -> None:
    known_models.running_sum(served.context.settings.models, version=2)
    assert not client.is_model_ready(RUNNING_SUM, "2")
    client.load_model(RUNNING_SUM)
    assert client.is_model_ready(RUNNING_SUM, "2")
    assert client.infer(RUNNING_SUM, values(1)).get_response().model_version == "2"


def test_what_the_repository_does_not_have_cannot_be_loaded_or_unloaded(client: triton.InferenceServerClient) -> None:
    for method in (client.load_model, client.unload_model):
        with pytest.raises(InferenceServerException) as error:
            method("nothing")
        assert error.value.status() == "StatusCode.NOT_FOUND"


def test_a_configuration_sent_along_is_refused(client: triton.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="config") as error:
        client.load_model(RUNNING_SUM, config='{"backend": "onnxruntime"}')
    assert error.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_there_is_one_repository(served: Served) -> None:
    request = messages.RepositoryIndexRequest(repository_name="other")
    _, details, _ = call(served.grpc_address, SERVICE + "RepositoryIndex", request.SerializeToString())
    assert "repository_name: expected none" in details


def test_the_index_may_be_of_what_is_ready_alone(served: Served, client: triton.InferenceServerClient) -> None:
    broken = known_models.running_sum(served.context.settings.models, version=3)
    known_models.change_manifest(broken, "state", "width", to=4)
    with pytest.raises(InferenceServerException):
        client.load_model(RUNNING_SUM)
    assert states(client) == {f"{RUNNING_SUM}/1": "READY", f"{RUNNING_SUM}/3": "UNAVAILABLE"}
    ready = client._client_stub.RepositoryIndex(triton.service_pb2.RepositoryIndexRequest(ready=True))
    assert [each.version for each in ready.models] == ["1"]
