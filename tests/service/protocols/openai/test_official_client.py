"""The official `openai` client works against the service as it is."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import openai
import pytest

from tests import known_models
from tests.service.protocols.serving import Served

MODEL = known_models.NEXT_TOKEN


@pytest.fixture
def client(served: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=2) as client:
        yield client


def test_a_completion(client: openai.OpenAI) -> None:
    answer = client.completions.create(model=MODEL, prompt="abc", max_tokens=4, temperature=0)
    assert answer.choices[0].text == "defg" and answer.choices[0].finish_reason == "length"
    assert answer.usage is not None and answer.usage.total_tokens == 7
    assert answer._request_id


def test_a_streamed_completion(client: openai.OpenAI) -> None:
    stream = client.completions.create(
        model=MODEL, prompt="abc", max_tokens=40, temperature=0, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].text for chunk in chunks if chunk.choices)
    assert text.startswith("defghijklmnopqrstuvwxyz\nabc") and len(text) == 40
    assert chunks[-1].usage is not None and chunks[-1].usage.completion_tokens == 40


def test_a_session_by_extra_body(client: openai.OpenAI) -> None:
    session = {"session_id": uuid4().hex}
    first = client.completions.create(model=MODEL, prompt="abc", max_tokens=2, temperature=0, extra_body=session)
    second = client.completions.create(model=MODEL, prompt="", max_tokens=2, temperature=0, extra_body=session)
    assert first.choices[0].text + second.choices[0].text == "defg"
    assert second.model_extra is not None and second.model_extra["position"] == 7


def test_models(client: openai.OpenAI) -> None:
    assert MODEL in [model.id for model in client.models.list()]
    assert client.models.retrieve(MODEL).owned_by == "unroll"


def test_errors_arrive_as_the_clients_own(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.completions.create(model="nobody", prompt="abc")
    assert missing.value.code == "model_not_found" and missing.value.param == "model"
    with pytest.raises(openai.BadRequestError, match="echo: not supported"):
        client.completions.create(model=MODEL, prompt="abc", echo=True)
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nobody")


def test_a_conflict_is_raised_at_once_and_not_retried(served: Served, client: openai.OpenAI) -> None:
    session = uuid4().hex
    client.completions.create(model=MODEL, prompt="abc", max_tokens=2, extra_body={"session_id": session})
    with pytest.raises(openai.ConflictError):
        client.completions.create(model=MODEL, prompt="a", extra_body={"session_id": session, "position": 1})
    assert served.position(session) == 5


def test_an_error_within_a_stream_is_raised(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIError):
        list(client.completions.create(model=MODEL, prompt="abc", max_tokens=5000, stream=True))
