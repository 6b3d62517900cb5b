"""The official `openai` client works against the service as it is, with everything that `completions.create` sends."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import httpx2
import openai
import pytest
from openai.resources.completions import Completions

from service.errors import StepFailed
from service.tasks.text import TextPiece
from tests import known_models
from tests.service.protocols.serving import Served, serve

MODEL = known_models.NEXT_TOKEN
SERVED: dict[str, list[Any]] = {
    "prompt": ["abc", ["abc"], ["abc", "x"], [2, 3, 4], [[2, 3, 4], [25]], "", None],
    "best_of": [None, 1],
    "echo": [None, False, True],
    "frequency_penalty": [None, 0, 0.5, -2],
    "logit_bias": [None, {}, {"5": -100, "7": 2.5}],
    "logprobs": [None, 0, 5],
    "max_tokens": [None, 0, 1, 100],
    "n": [None, 1, 3],
    "presence_penalty": [None, 0, 2, -0.5],
    "seed": [None, 0, 2**63 - 1],
    "stop": [None, "q", ["x", "yz"], []],
    "suffix": [None, ""],
    "temperature": [None, 0, 0.7, 2],
    "top_p": [None, 0, 0.5, 1],
    "user": ["user-1234"],
}
REFUSED: dict[str, list[Any]] = {
    "prompt": [["a", 5], [], [99], "A"],
    "best_of": [0, 21],
    "frequency_penalty": [2.5],
    "logit_bias": [{"x": -100}, {"5": 101}, {"99": 1}],
    "logprobs": [-1, 21],
    "max_tokens": [-1],
    "n": [0],
    "presence_penalty": [-2.5],
    "seed": [-1],
    "stop": [["a"] * 5, ""],
    "suffix": ["z"],
    "temperature": [-1, 2.1],
    "top_p": [1.5],
}


@pytest.fixture
def client(served: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=2) as client:
        yield client


def create(client: openai.OpenAI, **given: Any) -> Any:
    usual: dict[str, Any] = {"model": MODEL, "prompt": "abc", "max_tokens": 2, "temperature": 0}
    return client.completions.create(**(usual | given))


def pairs(table: dict[str, list[Any]]) -> list[tuple[str, Any]]:
    return [(name, value) for name, values in table.items() for value in values]


def test_every_parameter_of_the_client_is_tried_here() -> None:
    streaming = {"stream", "stream_options"}
    transport = {"self", "model", "extra_headers", "extra_query", "extra_body", "timeout"}
    assert set(inspect.signature(Completions.create).parameters) == {*SERVED, *streaming, *transport}


@pytest.mark.parametrize(("name", "value"), pairs(SERVED))
def test_what_is_served_is_answered_whole_and_streamed(client: openai.OpenAI, name: str, value: Any) -> None:
    whole = create(client, seed=3, **{name: value}) if name != "seed" else create(client, seed=value)
    assert whole.object == "text_completion" and whole.usage.total_tokens >= whole.usage.prompt_tokens
    assert {choice.finish_reason for choice in whole.choices} <= {"length", "stop"}
    texts = [""] * len(whole.choices)
    for chunk in create(client, **{"seed": 3, name: value}, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    if (name, value) != ("seed", None):
        assert texts == [choice.text for choice in whole.choices]


@pytest.mark.parametrize(("name", "value"), pairs(REFUSED))
def test_what_is_not_served_is_refused_by_name(client: openai.OpenAI, name: str, value: Any) -> None:
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as refused:
            create(client, **{name: value}, stream=stream)
        assert refused.value.param is not None and refused.value.param.split(".")[0] == name
        assert name in refused.value.message and refused.value.type == "invalid_request_error"


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


@pytest.mark.parametrize("options", [{"include_usage": True}, {"include_obfuscation": False}, {}, None])
def test_stream_options_go_with_a_stream_alone(client: openai.OpenAI, options: Any) -> None:
    assert list(create(client, stream=True, stream_options=options))
    if options is not None:
        with pytest.raises(openai.BadRequestError, match="only together with stream"):
            create(client, stream_options=options)


def test_the_asynchronous_client(served: Served) -> None:
    async def texts() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="none") as client:
            whole = await client.completions.create(model=MODEL, prompt="abc", max_tokens=20, temperature=0)
            streamed = ""
            stream = await client.completions.create(
                model=MODEL, prompt="abc", max_tokens=20, temperature=0, stream=True
            )
            async for chunk in stream:
                streamed += chunk.choices[0].text
            return [whole.choices[0].text, streamed]

    assert asyncio.run(texts()) == ["defghijklmnopqrstuvw"] * 2


def test_a_session_by_extra_body(client: openai.OpenAI) -> None:
    session = {"session_id": uuid4().hex}
    first = client.completions.create(model=MODEL, prompt="abc", max_tokens=2, temperature=0, extra_body=session)
    second = client.completions.create(model=MODEL, prompt="", max_tokens=2, temperature=0, extra_body=session)
    assert first.choices[0].text + second.choices[0].text == "defg"
    assert second.model_extra is not None and second.model_extra["position"] == 7


def test_models(client: openai.OpenAI) -> None:
    assert MODEL in [model.id for model in client.models.list()]
    assert client.models.retrieve(MODEL).owned_by == "unroll"
    assert client.models.retrieve(f"{MODEL}/1").id == MODEL


def test_raw_and_streaming_responses(client: openai.OpenAI) -> None:
    raw = client.completions.with_raw_response.create(model=MODEL, prompt="abc", max_tokens=2, temperature=0)
    assert raw.parse().choices[0].text == "de" and raw.headers["x-request-id"] == raw.request_id
    streaming = client.completions.with_streaming_response.create(model=MODEL, prompt="abc", max_tokens=2)
    with streaming as answer:
        assert answer.parse().usage is not None


def test_what_is_served_nowhere_is_said(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as chat:
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "abc"}])
    assert chat.value.code == "path_not_found"
    with pytest.raises(openai.APIStatusError) as removal:
        client.models.delete(MODEL)
    assert removal.value.status_code == 405


def test_errors_arrive_as_the_clients_own(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.completions.create(model="nobody", prompt="abc")
    assert missing.value.code == "model_not_found" and missing.value.param == "model"
    with pytest.raises(openai.NotFoundError) as unknown:
        client.models.retrieve("nobody")
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.APIStatusError) as too_many:
        create(client, n=17)
    assert too_many.value.status_code == 413 and too_many.value.param == "n"
    with pytest.raises(openai.BadRequestError, match="top_a: unknown parameter"):
        create(client, extra_body={"top_a": 3})


def test_a_service_without_room_is_a_rate_limit(next_token_models: Any) -> None:
    with serve(next_token_models, max_sessions=1) as served:
        with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client:
            create(client, extra_body={"session_id": "a"})
            with pytest.raises(openai.RateLimitError) as full:
                create(client, extra_body={"session_id": "b"})
            assert full.value.type == "rate_limit_error" and full.value.response.headers["retry-after"] == "5"


def test_a_conflict_is_raised_at_once_and_not_retried(served: Served, client: openai.OpenAI) -> None:
    session = uuid4().hex
    client.completions.create(model=MODEL, prompt="abc", max_tokens=2, extra_body={"session_id": session})
    with pytest.raises(openai.ConflictError) as conflict:
        client.completions.create(model=MODEL, prompt="a", extra_body={"session_id": session, "position": 1})
    assert conflict.value.response.headers["x-should-retry"] == "false"
    assert conflict.value.response.request.headers["x-stainless-retry-count"] == "0"
    assert served.position(session) == 5


class LosesAnAnswer(httpx2.HTTPTransport):
    """Hands the first request on, and then loses the connection."""

    lost = False

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = super().handle_request(request)
        if not self.lost:
            answer.read()
            self.lost = True
            raise httpx2.ReadError("the connection was lost", request=request)
        return answer


@pytest.mark.parametrize("said", ["position", "key"])
def test_a_lost_answer_is_asked_for_again_and_the_session_moves_once(served: Served, said: str) -> None:
    session = uuid4().hex
    body: dict[str, Any] = {"session_id": session} | ({"position": 0} if said == "position" else {})
    headers = {"Idempotency-Key": "k"} if said == "key" else {}
    with (
        httpx2.Client(transport=LosesAnAnswer()) as http,
        openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", http_client=http) as client,
    ):
        answer = create(client, extra_body=body, extra_headers=headers)
    assert answer.choices[0].text == "de" and answer.repeated is True
    assert served.position(session) == 5


def test_an_error_before_a_stream_has_begun_is_raised(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError):
        list(client.completions.create(model=MODEL, prompt="abc", max_tokens=5000, stream=True))


def test_an_error_within_a_stream_is_raised(client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    async def failing(*_: Any, **__: Any) -> AsyncIterator[TextPiece]:
        yield TextPiece("d", [5], None)
        raise StepFailed("a graph run failed")

    monkeypatch.setattr("service.protocols.openai.completions.complete", failing)
    stream = create(client, stream=True)
    assert next(stream).choices[0].text == "d"
    with pytest.raises(openai.APIError, match="a graph run failed") as broken:
        next(stream)
    assert broken.value.code == "step_failed" and broken.value.type == "server_error"
