"""Text in native sessions: controls, log-probabilities, scores, and forks from earlier places."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest

from tests import known_models
from tests.known_models import ALPHABET, NEXT_PROBABILITY
from tests.service.protocols.serving import Served, serve

MODEL = known_models.NEXT_TOKEN


def generate(served: Served, session: str, **body: Any) -> Any:
    answer = served.post(f"/v1/sessions/{session}/generate", {"temperature": 0, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_every_control_is_taken_in_a_session(served: Served) -> None:
    session = served.open(MODEL, seed=3)
    d = str(ALPHABET.index("d") + 1)
    served.observe(session, text="abc")
    assert not generate(served, session, max_tokens=4, logit_bias={d: -100})["text"].startswith("d")
    assert generate(served, session, max_tokens=3, logit_bias={d: 100})["text"] == "ddd"
    told = generate(served, session, max_tokens=9, temperature=2, regex="[a-c]{2}z")
    assert re.fullmatch("[a-c]{2}z", told["text"]) and told["finish_reason"] == "stop"
    narrow = {"top_k": 2, "min_p": 0.3, "typical_p": 0.9, "presence_penalty": 0.1, "repetition_penalty": 1.1}
    assert generate(served, session, max_tokens=3, temperature=1, **narrow)["text"] == "\nab"
    assert generate(served, session, max_tokens=3, best_of=3)["text"] == "cde"
    assert generate(served, session, max_tokens=3, beams=3)["text"] == "fgh"
    assert generate(served, session, max_tokens=9, stop="kl")["text"] == "ij"
    assert served.position(session) == 3 + 4 + 3 + 3 + 3 + 3 + 3 + 2


def test_log_probabilities_come_with_the_likeliest_tokens(served: Served) -> None:
    session = served.open(MODEL)
    answer = generate(served, session, max_tokens=40, logprobs=1)
    assert [told["token"] for told in answer["logprobs"]] == answer["tokens"]
    assert "".join(told["text"] for told in answer["logprobs"]) == answer["text"]
    for told in answer["logprobs"]:
        assert math.isclose(told["log_probability"], math.log(NEXT_PROBABILITY), rel_tol=1e-4)
        assert [top["token"] for top in told["top"]] == [told["token"]]
    again = served.post(f"/v1/sessions/{session}/generate", {"max_tokens": 5, "logprobs": 2, "position": 40}).json()
    repeated = served.post(f"/v1/sessions/{session}/generate", {"max_tokens": 5, "logprobs": 2, "position": 40}).json()
    assert repeated == again | {"repeated": True} and len(again["logprobs"]) == 5


def test_a_forecaster_takes_no_control_of_text(served: Served) -> None:
    session = served.open()
    for control in ({"top_k": 3}, {"regex": "a"}, {"logprobs": 1}, {"beams": 2}):
        refused = served.post(f"/v1/sessions/{session}/generate", {"steps": 3, **control})
        assert refused.status_code == 422 and refused.json()["error"]["parameter"] == next(iter(control))


@pytest.mark.parametrize(
    ("body", "parameter", "words"),
    [
        ({"top_k": -1}, "top_k", "at least 0"),
        ({"min_p": 2}, "min_p", "at most 1"),
        ({"regex": "[a"}, "regex", "cannot be read"),
        ({"regex": "a", "grammar": "b"}, "grammar", "at most one of them"),
        ({"logit_bias": {"x": 1}}, "logit_bias", "expected token ids"),
        ({"beams": 2, "best_of": 2}, "beams", "leave best_of"),
        ({"penalty_window": 0}, "penalty_window", "at least 1"),
    ],
)
def test_a_control_that_cannot_be_is_refused_and_nothing_moves(
    served: Served, body: dict[str, Any], parameter: str, words: str
) -> None:
    session = served.open(MODEL)
    refused = served.post(f"/v1/sessions/{session}/generate", {"max_tokens": 3, **body})
    assert refused.status_code == 422, refused.text
    assert refused.json()["error"]["parameter"] == parameter and words in refused.json()["error"]["message"]
    assert served.position(session) == 0


def test_a_text_is_scored_from_the_beginning_and_after_a_session(served: Served) -> None:
    likely, other = math.log(NEXT_PROBABILITY), math.log((1 - NEXT_PROBABILITY) / (len(ALPHABET) - 1))
    whole = served.post("/v1/score", {"model": MODEL, "text": "abx", "per_token": True}).json()
    assert (whole["tokens"], whole["characters"], whole["bytes"], whole["model"]) == (3, 3, 3, f"{MODEL}/1")
    assert math.isclose(whole["log_probability"], 2 * likely + other, rel_tol=1e-5)
    assert math.isclose(whole["bits_per_byte"], -(2 * likely + other) / 3 / math.log(2), rel_tol=1e-5)
    assert math.isclose(whole["perplexity"], math.exp(-(2 * likely + other) / 3), rel_tol=1e-5)
    assert math.isclose(sum(whole["log_probabilities"]), whole["log_probability"], rel_tol=1e-5)
    session = served.open(MODEL)
    served.observe(session, text="x")
    after = served.post("/v1/score", {"session_id": session, "tokens": [26, 27]}).json()
    assert math.isclose(after["log_probability"], 2 * likely, rel_tol=1e-5) and "log_probabilities" not in after
    assert served.position(session) == 1


@pytest.mark.parametrize(
    ("body", "status", "parameter"),
    [
        ({"text": "a"}, 422, "model"),
        ({"model": MODEL, "session_id": "x", "text": "a"}, 422, "model"),
        ({"model": MODEL}, 422, "text"),
        ({"model": MODEL, "text": ""}, 422, "text"),
        ({"model": MODEL, "text": "A"}, 422, "text"),
        ({"model": known_models.RUNNING_SUM, "text": "a"}, 422, "model"),
        ({"model": "nobody", "text": "a"}, 404, "model"),
        ({"session_id": "nobody", "text": "a"}, 404, None),
    ],
)
def test_what_cannot_be_scored_is_refused(served: Served, body: Any, status: int, parameter: str | None) -> None:
    refused = served.post("/v1/score", body)
    assert refused.status_code == status and refused.json()["error"].get("parameter") == parameter


def test_forks_begin_where_turns_ended_or_at_checkpoints(served: Served) -> None:
    session = served.open(MODEL)
    path = f"/v1/sessions/{session}"
    served.observe(session, text="abc")
    assert served.post(f"{path}/checkpoints", {"name": "abc"}).json() == {"name": "abc", "position": 3}
    generate(served, session, max_tokens=5)
    served.observe(session, text="xy")
    told = served.client.get(f"{path}/checkpoints").json()
    assert told == {"object": "list", "data": [{"name": "abc", "position": 3}], "turn_ends": [0, 3, 8, 10]}
    for place in ({"position": 3}, {"checkpoint": "abc"}):
        fork = served.post(f"{path}/fork", place).json()
        assert fork["position"] == 3 and generate(served, fork["id"], max_tokens=3)["text"] == "def"
    missed = served.post(f"{path}/fork", {"position": 5})
    assert missed.status_code == 409
    assert {"position": 10, "nearest": 3}.items() <= missed.json()["error"].items()
    both = served.post(f"{path}/fork", {"position": 3, "checkpoint": "abc"})
    assert both.status_code == 422 and both.json()["error"]["parameter"] == "checkpoint"
    assert served.client.delete(f"{path}/checkpoints/abc").json() == {"removed": 1}
    gone = served.post(f"{path}/fork", {"checkpoint": "abc"})
    assert gone.status_code == 422 and "none named 'abc'" in gone.json()["error"]["message"]


def test_a_checkpoint_that_is_not_there_cannot_be_removed(served: Served) -> None:
    gone = served.client.delete(f"/v1/sessions/{served.open(MODEL)}/checkpoints/abc")
    assert gone.status_code == 404
    assert gone.json()["error"].items() >= {"code": "checkpoint_not_found", "parameter": "name"}.items()


def test_a_fork_ahead_of_its_parent_is_told_that_it_has_not_been_there(served: Served) -> None:
    session = served.open(MODEL)
    served.observe(session, text="abc")
    ahead = served.post(f"/v1/sessions/{session}/fork", {"position": 99999})
    assert ahead.status_code == 409 and ahead.json()["error"]["nearest"] == 3
    assert "has not been there yet" in ahead.json()["error"]["message"]


def test_a_socket_takes_controls_and_forks_from_earlier_places(served: Served) -> None:
    session = served.open(MODEL)
    with served.stream(session) as stream:
        for frame in (
            {"type": "observe", "text": "abc"},
            {"type": "generate", "max_tokens": 9, "temperature": 2, "regex": "x{3}", "logprobs": 1},
            {"type": "fork", "position": 3},
        ):
            stream.send(json.dumps(frame))
        observed, generated, forked = (json.loads(stream.recv(10)) for _ in range(3))
    assert observed["position"] == 3 and generated["text"] == "xxx" and generated["finish_reason"] == "stop"
    assert [told["text"] for told in generated["logprobs"]] == ["x", "x", "x"]
    assert forked["session"]["position"] == 3


def test_a_model_without_predictions_serves_what_it_can(tmp_path: Any) -> None:
    known_models.next_token(tmp_path, predicts=False)
    with serve(tmp_path) as older:
        session = older.open(MODEL)
        assert generate(older, session, max_tokens=9, stop="de", best_of=2)["text"] == "abc"
        refused = older.post(f"/v1/sessions/{session}/generate", {"max_tokens": 3, "top_k": 3})
        assert refused.status_code == 422 and refused.json()["error"]["parameter"] == "top_k"
        assert "top_k: model next-token/1 has no graph `predict`" in refused.json()["error"]["message"]
        assert older.post("/v1/score", {"model": MODEL, "text": "abc"}).status_code == 200
