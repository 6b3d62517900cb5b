"""The clients people already have, with API keys as each of them sends one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openai
import pytest
import tritonclient.http as triton

from tests.known_models import NEXT_TOKEN, RUNNING_SUM
from tests.service.protocols.keyed import KEYS, WRONG, keyed, of
from tests.service.protocols.serving import Served


@pytest.fixture(scope="module")
def served(protocol_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with keyed(protocol_models, tmp_path_factory.mktemp("keys")) as running:
        yield running


def completions(served: Served, key: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{served.url}/v1", api_key=key, max_retries=0)


def test_openais_client_sends_its_key_and_knows_our_refusals(served: Served) -> None:
    with completions(served, KEYS["alice"]) as client:
        answer = client.completions.create(model=NEXT_TOKEN, prompt="a", max_tokens=2, extra_body={"session_id": "a"})
        assert answer.model_extra is not None and answer.model_extra["position"] == 3
        assert [model.id for model in client.models.list()]
    with completions(served, WRONG) as client, pytest.raises(openai.AuthenticationError) as refused:
        client.completions.create(model=NEXT_TOKEN, prompt="a", max_tokens=2)
    assert refused.value.code == "invalid_api_key" and refused.value.type == "invalid_request_error"
    with completions(served, KEYS["keeper"]) as client, pytest.raises(openai.PermissionDeniedError):
        client.completions.create(model=NEXT_TOKEN, prompt="a", max_tokens=2)
    with completions(served, KEYS["bob"]) as client:
        answer = client.completions.create(model=NEXT_TOKEN, prompt="a", max_tokens=2, extra_body={"session_id": "a"})
        assert answer.model_extra is not None and answer.model_extra["position"] == 3, "a session of his own"


def test_tritons_client_sends_its_key_in_a_header(served: Served) -> None:
    values = triton.InferInput("target", [1, 1], "FP32")
    values.set_data_from_numpy(np.ones((1, 1), np.float32))
    with triton.InferenceServerClient(served.url.removeprefix("http://")) as client:
        assert client.is_server_live() and client.is_server_ready()
        assert not client.is_model_ready(RUNNING_SUM) and client.is_model_ready(RUNNING_SUM, headers=of("alice"))
        client.infer(RUNNING_SUM, [values], headers=of("alice"), sequence_id=1, sequence_start=True)
        with pytest.raises(Exception, match="not known here"):
            client.infer(RUNNING_SUM, [values], headers={"X-Api-Key": WRONG})
        with pytest.raises(Exception, match="no sequence"):
            client.infer(RUNNING_SUM, [values], headers={"X-Api-Key": KEYS["bob"]}, sequence_id=1)
