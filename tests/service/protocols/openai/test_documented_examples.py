"""The examples of OpenAI's reference for completions and models, as they stand there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests import known_models
from tests.service.protocols.serving import Served, serve

MODEL = "gpt-3.5-turbo-instruct"
REQUEST = {"model": MODEL, "prompt": "Say this is a test", "max_tokens": 7, "temperature": 0}
ANSWER = {"id", "object", "created", "model", "system_fingerprint", "choices", "usage"}
CHOICE = {"text", "index", "logprobs", "finish_reason"}


@pytest.fixture(scope="module")
def instruct(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A model by the documented name that reads every text; its tokens are bytes."""
    folder = tmp_path_factory.mktemp("instruct")
    known_models.next_token(folder, name=MODEL, kind="byte")
    with serve(folder) as served:
        yield served


def post(served: Served, body: dict[str, Any]) -> httpx.Response:
    answer = served.post("/v1/completions", body, authorization="Bearer sk-none")
    assert answer.status_code == 200, answer.text
    return answer


def test_no_streaming(instruct: Served) -> None:
    answer = post(instruct, REQUEST).json()
    assert answer.keys() == ANSWER
    assert answer["id"].startswith("cmpl-") and answer["object"] == "text_completion" and answer["model"] == MODEL
    (choice,) = answer["choices"]
    assert choice.keys() == CHOICE
    assert (choice["index"], choice["logprobs"], choice["finish_reason"]) == (0, None, "length")
    assert answer["usage"].pop("prompt_tokens_details").keys() == {"cached_tokens"}
    assert answer["usage"] == {"prompt_tokens": 18, "completion_tokens": 7, "total_tokens": 25}


def test_streaming(instruct: Served) -> None:
    answer = post(instruct, REQUEST | {"stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    *chunks, last = [event.removeprefix("data: ") for event in answer.text.split("\n\n") if event]
    assert last == "[DONE]"
    for chunk in map(json.loads, chunks):
        assert chunk.keys() == ANSWER - {"usage"} and chunk["object"] == "text_completion"
        assert all(choice.keys() == CHOICE for choice in chunk["choices"])
    whole = post(instruct, REQUEST).json()["choices"][0]["text"]
    assert "".join(json.loads(chunk)["choices"][0]["text"] for chunk in chunks) == whole


def test_models_are_listed_and_retrieved(instruct: Served) -> None:
    listed = instruct.client.get("/v1/models").json()
    assert listed["object"] == "list"
    (model,) = listed["data"]
    assert model.keys() >= {"id", "object", "created", "owned_by"}
    assert (model["id"], model["object"]) == (MODEL, "model") and isinstance(model["created"], int)
    assert (
        instruct.client.get(f"/v1/models/{MODEL}").json().items()
        >= {name: model[name] for name in ("id", "object", "created", "owned_by")}.items()
    )
