"""Generated text, whole and streamed, in Triton's fields and the Open Inference Protocol's."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

import httpx
import pytest

from service.protocols.inference_v2.generate import DEFAULT_TOKENS
from tests.service.protocols.inference_v2.asking import MODEL, TEXT, refused
from tests.service.protocols.serving import Served

_numbers = count(20_000)


def generate(served: Served, text: str, model: str = TEXT, **more: Any) -> httpx.Response:
    return served.post(f"/v2/models/{model}/generate", {"text_input": text} | more)


def stream(served: Served, text: str, **more: Any) -> list[Any]:
    """The events of a stream."""
    answer = served.post(f"/v2/models/{TEXT}/generate_stream", {"text_input": text} | more)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    *events, rest = answer.text.split("\n\n")
    assert rest == "" and all(event.startswith("data: ") for event in events)
    return [json.loads(event.removeprefix("data: ")) for event in events]


def test_tritons_example_is_answered(served: Served) -> None:
    """Triton, "Generate Extension": `stream` and `temperature` among the parameters."""
    answer = generate(served, "abc", parameters={"stream": False, "temperature": 0, "max_tokens": 4})
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "model_name": TEXT,
        "model_version": "1",
        "text_output": "defg",
        "finish_reason": "length",
    }


def test_parameters_may_stand_beside_the_text(served: Served) -> None:
    answer = generate(served, "abc", id="7", temperature=0, max_tokens=3, parameters={"stop": ["f"]})
    assert (answer.json()["id"], answer.json()["text_output"]) == ("7", "de")
    assert answer.json()["finish_reason"] == "stop"
    twice = generate(served, "abc", max_tokens=3, parameters={"max_tokens": 4})
    assert "parameters.max_tokens: given twice, with two values" in refused(twice)


def test_what_is_left_out_is_the_standards_default(served: Served) -> None:
    answer = generate(served, "abc", parameters={"temperature": 0})
    assert len(answer.json()["text_output"]) == DEFAULT_TOKENS == 20


def test_a_seed_draws_the_same_text_again_and_none_another(served: Served) -> None:
    drawn = [generate(served, "abc", max_tokens=200, seed=5).json()["text_output"] for _ in range(2)]
    assert drawn[0] == drawn[1]
    free = [generate(served, "abc", max_tokens=200).json()["text_output"] for _ in range(2)]
    assert free[0] != free[1]


def test_a_stream_brings_the_same_text_in_pieces(served: Served) -> None:
    whole = generate(served, "abc", max_tokens=50, seed=5).json()
    pieces = stream(served, "abc", parameters={"max_tokens": 50, "seed": 5, "stream": True})
    assert len(pieces) > 2 and "".join(piece["text_output"] for piece in pieces) == whole["text_output"]
    assert [piece.get("finish_reason") for piece in pieces] == [None] * (len(pieces) - 1) + ["length"]
    assert all((piece["model_name"], piece["model_version"]) == (TEXT, "1") for piece in pieces)
    (together,) = stream(served, "abc", parameters={"max_tokens": 50, "seed": 5, "stream": False})
    assert together == whole


def test_a_sequence_goes_on_from_its_text(served: Served) -> None:
    number = next(_numbers)
    first = generate(served, "abc", sequence_id=number, sequence_start=True, temperature=0, max_tokens=2).json()
    assert first["text_output"] == "de"
    assert (first["sequence_id"], first["position"], first["durable_position"]) == (number, 5, 0)
    pieces = stream(served, "", sequence_id=number, temperature=0, max_tokens=20, sequence_end=True)
    assert "".join(piece["text_output"] for piece in pieces) == "fghijklmnopqrstuvwxy"
    assert pieces[-1]["position"] == 25
    assert "needs sequence_start" in refused(generate(served, "", sequence_id=number))


def test_a_sequence_of_inference_goes_on_with_text(served: Served) -> None:
    number = next(_numbers)
    tokens = {"name": "tokens", "shape": [1, 3], "datatype": "INT64", "data": [2, 3, 4]}
    body = {"inputs": [tokens], "parameters": {"sequence_id": number, "sequence_start": True}}
    assert served.post(f"/v2/models/{TEXT}/infer", body).status_code == 200
    assert generate(served, "", sequence_id=number, temperature=0, max_tokens=2).json()["text_output"] == "de"


def test_a_repeated_generation_is_answered_again(served: Served) -> None:
    number = next(_numbers)
    generate(served, "abc", sequence_id=number, sequence_start=True, max_tokens=0)
    asked: dict[str, Any] = {"sequence_id": number, "max_tokens": 30, "position": 3}
    first, again = (generate(served, "", **asked).json() for _ in range(2))
    assert again == first | {"repeated": True}
    answer = generate(served, "x", **asked)
    assert answer.status_code == 409 and answer.json()["position"] == 33
    keyed = [
        served.post(
            f"/v2/models/{TEXT}/generate",
            {"text_input": "a", "parameters": {"sequence_id": number, "max_tokens": 3}},
            **{"Idempotency-Key": "k"},
        ).json()["position"]
        for _ in range(2)
    ]
    assert keyed == [37, 37]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"max_tokens": -1}, "parameters.max_tokens: expected a whole number at least 0, got -1"),
        ({"temperature": 3}, "parameters.temperature: expected a number at most 2"),
        ({"top_p": -0.1}, "parameters.top_p: expected a number at least 0"),
        ({"stop": ["a"] * 5}, "parameters.stop"),
        ({"stop": 3}, "parameters.stop"),
        ({"best_of": 2}, "body.best_of: unknown parameter; known are text_input"),
        ({"details": True}, "body.details: unknown parameter"),
        ({"text_input": "Ω"}, "text_input: "),
        ({"text_input": None}, "body.text_input: expected a text, got null"),
        ({"parameters": {"top_k": 3}}, "parameters.top_k: unknown parameter; known are "),
        ({"parameters": [1]}, "body.parameters: expected an object, got a list of 1"),
        ({"sequence_end": True, "sequence_id": 0}, "parameters.sequence_start: expected a sequence_id with it"),
        ({"parameters": {"stream": True}}, "parameters.stream: expected false here: ask generate_stream"),
    ],
)
def test_what_is_not_served_is_refused_by_name(served: Served, wrong: dict[str, Any], message: str) -> None:
    number = next(_numbers)
    generate(served, "abc", sequence_id=number, sequence_start=True, max_tokens=0)
    begin: dict[str, Any] = {"text": "abc", "sequence_id": number, "sequence_start": True}
    answer = generate(served, **begin | _renamed(wrong))
    assert message in refused(answer)
    assert generate(served, "", sequence_id=number, max_tokens=1).json()["position"] == 4


def _renamed(wrong: dict[str, Any]) -> dict[str, Any]:
    return {"text" if name == "text_input" else name: value for name, value in wrong.items()}


def test_a_stream_that_cannot_begin_is_refused_as_a_whole(served: Served) -> None:
    answer = served.post(f"/v2/models/{TEXT}/generate_stream", {"text_input": "Ω"})
    assert "text_input: " in refused(answer)
    assert "use a text model" in refused(generate(served, "abc", model=MODEL))
    refused(generate(served, "abc", model="nobody"), 404)
    assert "expected at most 4096" in refused(generate(served, "abc", max_tokens=5000), 413)


def test_a_client_that_hangs_up_leaves_the_sequence_where_the_text_had_come_to(served: Served) -> None:
    number = next(_numbers)
    body = {"text_input": "abc", "sequence_id": number, "sequence_start": True, "max_tokens": 1900, "temperature": 0}
    with served.client.stream("POST", f"/v2/models/{TEXT}/generate_stream", json=body) as answer:
        first = json.loads(next(answer.iter_lines()).removeprefix("data: "))
    going_on = generate(served, "", sequence_id=number, temperature=0, max_tokens=1).json()
    assert first["position"] < going_on["position"] <= 1904
    # The text goes through the alphabet, so that the position tells the letter.
    assert going_on["text_output"] == "abcdefghijklmnopqrstuvwxyz\n"[(going_on["position"] - 1) % 27]


def test_a_version_may_be_named(served: Served) -> None:
    path = f"/v2/models/{TEXT}/versions"
    assert served.post(f"{path}/1/generate", {"text_input": "a"}).status_code == 200
    assert served.post(f"{path}/1/generate_stream", {"text_input": "a"}).status_code == 200
    refused(served.post(f"{path}/2/generate", {"text_input": "a"}), 404)
