"""OpenAI's completions over plain HTTP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests import known_models
from tests.service.protocols.serving import Served, serve

PATH = "/v1/completions"
MODEL = known_models.NEXT_TOKEN


def complete(served: Served, **body: Any) -> Any:
    answer = served.post(PATH, {"model": MODEL, "temperature": 0, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def events(served: Served, **body: Any) -> list[str]:
    """The data of all events of a streamed completion."""
    with served.client.stream("POST", PATH, json={"model": MODEL, "stream": True, **body}) as answer:
        assert answer.status_code == 200
        return [line.removeprefix("data: ") for line in answer.iter_lines() if line]


def test_a_prompt_is_continued(served: Served) -> None:
    answer = complete(served, prompt="abc", max_tokens=5)
    assert answer["object"] == "text_completion" and answer["model"] == MODEL and answer["id"].startswith("cmpl-")
    assert answer["choices"] == [{"index": 0, "text": "defgh", "finish_reason": "length", "logprobs": None}]
    assert answer["usage"].pop("prompt_tokens_details").keys() == {"cached_tokens"}
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}


def test_sixteen_tokens_are_the_default(served: Served) -> None:
    assert complete(served, prompt="a")["usage"]["completion_tokens"] == 16


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        (["abc", "x"], ["de", "yz"]),
        ([2, 3, 4], ["de"]),
        ([[2, 3, 4], [25]], ["de", "yz"]),
        ("", ["ab"]),
        (None, ["ab"]),
    ],
)
def test_prompts_come_as_texts_or_tokens(served: Served, prompt: Any, texts: list[str]) -> None:
    answer = complete(served, prompt=prompt, max_tokens=2)
    assert [choice["text"] for choice in answer["choices"]] == texts


def test_choices_are_numbered_by_prompt_and_then_by_sample(served: Served) -> None:
    answer = complete(served, prompt=["abc", "x"], max_tokens=2, n=2)
    assert [(choice["index"], choice["text"]) for choice in answer["choices"]] == [
        (0, "de"),
        (1, "de"),
        (2, "yz"),
        (3, "yz"),
    ]
    assert answer["usage"]["total_tokens"] == 4 + 8


def test_a_seed_gives_the_same_again_and_none_gives_another(served: Served) -> None:
    body = {"prompt": "a", "max_tokens": 60, "temperature": 2}
    seeded = [complete(served, **body, seed=7)["choices"][0]["text"] for _ in range(2)]
    free = {complete(served, **body)["choices"][0]["text"] for _ in range(4)}
    assert seeded[0] == seeded[1] and len(free) > 1


def test_a_nucleus_of_nothing_is_the_likeliest_token(served: Served) -> None:
    answer = complete(served, prompt="a", temperature=2, top_p=0, max_tokens=30)
    assert answer["choices"][0]["text"] == "bcdefghijklmnopqrstuvwxyz\nabcd"


def test_a_stop_is_no_part_of_the_text(served: Served) -> None:
    answer = complete(served, prompt="a", stop=["zz", "fg"], max_tokens=12)
    assert answer["choices"][0]["text"] == "bcde" and answer["choices"][0]["finish_reason"] == "stop"


def test_a_stream_is_the_same_text_and_ends_with_done(served: Served) -> None:
    body = {"prompt": ["abc", "x"], "n": 2, "max_tokens": 40, "seed": 3, "temperature": 1.5}
    whole = complete(served, **body)
    *chunks, last = events(served, **body)
    assert last == "[DONE]"
    texts, reasons = ["", "", "", ""], ["", "", "", ""]
    for chunk in map(json.loads, chunks):
        (choice,) = chunk["choices"]
        assert chunk["object"] == "text_completion" and "usage" not in chunk
        texts[choice["index"]] += choice["text"]
        reasons[choice["index"]] = choice["finish_reason"]
    assert texts == [choice["text"] for choice in whole["choices"]]
    assert reasons == ["length"] * 4


def test_usage_comes_last_when_asked_for(served: Served) -> None:
    *chunks, _ = map(str, events(served, prompt="abc", max_tokens=20, stream_options={"include_usage": True}))
    *before, last = map(json.loads, chunks)
    assert all(chunk["usage"] is None for chunk in before)
    assert last["choices"] == [] and last["usage"]["total_tokens"] == 23


def test_a_session_goes_on_where_it_stands(served: Served) -> None:
    session = uuid4().hex
    first = complete(served, prompt="abc", max_tokens=2, session_id=session)
    assert first["choices"][0]["text"] == "de" and first["session_id"] == session and first["position"] == 5
    second = complete(served, prompt="", max_tokens=2, session_id=session, position=5)
    assert second["choices"][0]["text"] == "fg" and second["position"] == 7
    again = complete(served, prompt="", max_tokens=2, session_id=session, position=5)
    assert again["repeated"] is True and again["choices"] == second["choices"] and again["position"] == 7


def test_an_idempotency_key_makes_a_session_safe_to_repeat(served: Served) -> None:
    body = {"model": MODEL, "prompt": "abc", "max_tokens": 4, "session_id": uuid4().hex}
    first, again = (served.post(PATH, body, **{"idempotency-key": "k"}).json() for _ in range(2))
    assert first["choices"] == again["choices"] and again["repeated"] is True and again["position"] == 7


def test_a_conflict_is_not_to_be_retried(served: Served) -> None:
    session = uuid4().hex
    complete(served, prompt="abc", max_tokens=2, session_id=session)
    answer = served.post(PATH, {"model": MODEL, "prompt": "a", "session_id": session, "position": 1})
    assert answer.status_code == 409 and answer.headers["x-should-retry"] == "false"
    assert answer.json()["error"]["code"] == "position_conflict"


def test_a_refused_request_leaves_no_session_behind(served: Served) -> None:
    session = uuid4().hex
    answer = served.post(PATH, {"model": MODEL, "prompt": "abc", "session_id": session, "position": 9})
    assert answer.status_code == 409
    assert served.client.get(f"/v1/sessions/{session}").status_code == 404


def test_a_session_of_another_model_is_refused(served: Served) -> None:
    session = served.open(known_models.RUNNING_SUM)
    answer = served.post(PATH, {"model": MODEL, "prompt": "abc", "session_id": session})
    assert answer.status_code == 400 and "is on running-sum/1, not on next-token/1" in answer.json()["error"]["message"]


def test_a_client_that_hangs_up_ends_its_completion_there(served: Served) -> None:
    session = uuid4().hex
    body = {"model": MODEL, "prompt": "a", "max_tokens": 4096, "stream": True, "session_id": session}
    with served.client.stream("POST", PATH, json=body) as answer:
        next(answer.iter_lines())
    assert 16 < served.observe(session, text="a")["position"] < 4096


@pytest.mark.parametrize(
    ("more", "status", "parameter", "words"),
    [
        ({"model": "nobody"}, 404, "model", "expected one of"),
        ({"model": known_models.RUNNING_SUM}, 400, "model", "use a text model"),
        ({"model": None}, 400, "model", "expected a text, got null"),
        ({"prompt": "ABC"}, 400, "prompt", "U+0041"),
        ({"prompt": ["a", 5]}, 400, "prompt", "not a mixture"),
        ({"prompt": []}, 400, "prompt", "empty list"),
        ({"prompt": [99]}, 400, "prompt", "0: expected a token id from 0 to 27"),
        ({"prompt": {"a": 1}}, 400, "prompt", "expected"),
        ({"max_tokens": -1}, 400, "max_tokens", "at least 0, got -1"),
        ({"max_tokens": 5000}, 413, "max_tokens", "4096"),
        ({"temperature": 2.1}, 400, "temperature", "at most 2"),
        ({"top_p": -0.1}, 400, "top_p", "at least 0"),
        ({"n": 0}, 400, "n", "at least 1"),
        ({"n": 17}, 413, "n", "UNROLL_MAX_CHOICES"),
        ({"n": 2, "session_id": "x"}, 400, "n", "fork"),
        ({"prompt": ["a", "b"], "session_id": "x"}, 400, "prompt", "expected one with session_id, got 2"),
        ({"position": 3}, 400, "position", "only together with session_id"),
        ({"stop": ["a"] * 5}, 400, "stop", "stop"),
        ({"stop": [1]}, 400, "stop.0", "expected a text, got 1"),
        ({"stream_options": {"include_usage": True}}, 400, "stream_options", "only together with stream"),
        ({"seed": -5}, 400, "seed", "at least 0"),
        ({"best_of": 2, "n": 3}, 400, "best_of", "expected at least n, which is 3, got 2"),
        ({"best_of": 2, "stream": True}, 400, "best_of", "cannot be streamed"),
        ({"best_of": 21}, 400, "best_of", "at most 20"),
        ({"beams": 2, "n": 3}, 400, "beams", "expected at least n"),
        ({"beams": 2, "stream": True}, 400, "beams", "cannot be streamed"),
        ({"beams": 2, "top_k": 4}, 400, "beams", "leave best_of, temperature, top_p, top_k"),
        ({"beams": 2, "temperature": 1.3}, 400, "beams", "leave best_of, temperature"),
        ({"beams": 2, "top_p": 0.9}, 400, "beams", "leave best_of, temperature, top_p"),
        ({"length_penalty": 2}, 400, "length_penalty", "send beams as well"),
        ({"penalty_window": 8}, 400, "penalty_window", "send repetition_penalty"),
        ({"logprobs": 21}, 400, "logprobs", "at most 20"),
        ({"logit_bias": {"a": 1}}, 400, "logit_bias", "expected token ids for names, got 'a'"),
        ({"logit_bias": {"28": 1}}, 400, "logit_bias", "from 0 to 27, got 28"),
        ({"logit_bias": {"7": 1, "5": 300}}, 400, "logit_bias", "expected -100 to 100 for token 5, got 300"),
        ({"presence_penalty": 2.1}, 400, "presence_penalty", "at most 2"),
        ({"frequency_penalty": -2.1}, 400, "frequency_penalty", "at least -2"),
        ({"repetition_penalty": 0}, 400, "repetition_penalty", "above 0"),
        ({"penalty_window": 65}, 400, "penalty_window", "at most 64"),
        ({"top_k": -1}, 400, "top_k", "at least 0"),
        ({"min_p": 1.1}, 400, "min_p", "at most 1"),
        ({"typical_p": 0}, 400, "typical_p", "above 0"),
        ({"regex": "a", "grammar": "b"}, 400, "grammar", "at most one of them"),
        ({"regex": "[a"}, 400, "regex", "cannot be read"),
        ({"regex": ""}, 400, "regex", "1 to 16384 characters"),
        ({"regex": "[A-Z]"}, 400, "regex", "regex: the model has no token for anything"),
        ({"json_schema": {"type": "object"}}, 400, "json_schema", "no token for anything"),
        ({"json_schema": {"type": "nothing"}}, 400, "json_schema", "cannot be read"),
        ({"suffix": "z"}, 400, "suffix", "suffix: not supported"),
        ({"top_a": 3}, 400, "top_a", "body.top_a: unknown parameter"),
    ],
)
def test_what_is_not_served_is_refused_by_name(
    served: Served, more: dict[str, Any], status: int, parameter: str | None, words: str
) -> None:
    answer = served.post(PATH, {"model": MODEL, "prompt": "abc", **more})
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["param"] == parameter and words in error["message"]


def test_neutral_values_change_nothing(served: Served) -> None:
    neutral: dict[str, Any] = {
        "echo": False,
        "best_of": 1,
        "logprobs": None,
        "logit_bias": {},
        "presence_penalty": 0,
        "frequency_penalty": 0.0,
        "suffix": "",
        "user": "someone",
    }
    assert complete(served, prompt="abc", max_tokens=2, **neutral)["choices"][0]["text"] == "de"


def test_a_session_stays_on_the_version_it_was_opened_with(tmp_path: Path) -> None:
    known_models.next_token(tmp_path)
    with serve(tmp_path) as served:
        complete(served, prompt="abc", max_tokens=2, session_id="old")
        known_models.next_token(tmp_path, version=2, alphabet="\nzyxwv")
        served.client.post("/v1/models/reload")
        old = complete(served, prompt="", max_tokens=2, session_id="old")
        new = complete(served, prompt="zy", max_tokens=2, session_id="new")
        assert old["choices"][0]["text"] == "fg" and old["system_fingerprint"] == "next-token/1"
        assert new["choices"][0]["text"] == "xw" and new["system_fingerprint"] == "next-token/2"
        moved = served.post(PATH, {"model": f"{MODEL}/2", "prompt": "zy", "session_id": "old"})
        assert moved.status_code == 400 and "is on next-token/1, not on next-token/2" in moved.text


def test_an_id_or_a_key_that_cannot_be_is_named(served: Served) -> None:
    refused = served.post(PATH, {"model": MODEL, "session_id": "a b"})
    assert refused.status_code == 400 and refused.json()["error"]["param"] == "session_id"
    for key in ("", "k" * 256):
        session = uuid4().hex
        refused = served.post(PATH, {"model": MODEL, "session_id": session}, **{"idempotency-key": key})
        assert refused.status_code == 400 and refused.json()["error"]["param"] == "idempotency-key"
        assert served.client.get(f"/v1/sessions/{session}").status_code == 404


def test_too_many_prompts_are_refused_before_any_is_read(served: Served) -> None:
    """A body holds hundreds of thousands, and the event loop would wait until all were cut into tokens."""
    refused = served.post(PATH, {"model": MODEL, "prompt": ["not a token: \u20ac"] * 257})
    assert refused.status_code == 413 and "UNROLL_MAX_INPUTS" in refused.json()["error"]["message"]
