"""Observe, forecast and generate over HTTP, with models whose answers are arithmetic."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests import known_models
from tests.service.protocols.serving import CALENDAR_SUM, COVARIATE_SUM, Served


def test_each_value_is_scored_against_what_was_predicted_before_it(served: Served) -> None:
    answer = served.observe(served.open(), values=[1, 2, None, 3])
    assert answer == {
        "start": 0,
        "position": 4,
        "durable_position": 0,
        "quantiles": {
            "levels": [0.25, 0.5, 0.75],
            "values": [None, [0.0, 1.0, 2.0], [2.0, 3.0, 4.0], [2.0, 3.0, 4.0]],
        },
        "expected": [None, 1.0, 3.0, 3.0],
        "interval": {"level": 0.5, "lower": [None, 0.0, 2.0, 2.0], "upper": [None, 2.0, 4.0, 4.0]},
        "pit": [None, 0.75, None, 0.5],
        "anomaly_score": [None, 0.5, None, 0.0],
    }


def test_a_repeat_with_the_position_is_answered_once_more_and_applied_once(served: Served) -> None:
    session = served.open()
    first = served.observe(session, values=[1, 2], position=0)
    again = served.observe(session, values=[1, 2], position=0)
    assert again == first | {"repeated": True}
    assert served.position(session) == 2


def test_a_repeat_with_a_key_is_answered_once_more_and_applied_once(served: Served) -> None:
    session = served.open()
    path = f"/v1/sessions/{session}/observe"
    first = served.post(path, {"values": [1, 2]}, **{"idempotency-key": "k1"})
    again = served.post(path, {"values": [1, 2]}, **{"idempotency-key": "k1"})
    assert again.json() == first.json() | {"repeated": True}
    other = served.post(path, {"values": [1, 3]}, **{"idempotency-key": "k1"})
    assert other.status_code == 409 and served.position(session) == 2


def test_a_wrong_position_is_a_conflict_with_both_positions(served: Served) -> None:
    session = served.open()
    served.observe(session, values=[1])
    answer = served.post(f"/v1/sessions/{session}/observe", {"values": [5], "position": 7})
    assert answer.status_code == 409 and answer.headers["x-should-retry"] == "false"
    error = answer.json()["error"]
    assert error["code"] == "position_conflict" and error["position"] == 1 and error["durable_position"] == 0


def test_timestamps_fill_gaps_and_never_go_back(served: Served) -> None:
    session = served.open(CALENDAR_SUM, first_timestamp="2024-07-01T00:00:00Z")
    times = ["2024-07-01T00:00:00Z", "2024-07-01T03:00:00Z"]
    answer = served.observe(session, values=[1, 2], timestamps=times)
    assert answer["position"] == 4 and answer["filled"] == 2 and len(answer["pit"]) == 2
    for late, words in (("2024-07-01T01:00:00Z", "increase"), ("2024-07-01T04:30:00Z", "whole number of steps")):
        refused = served.post(f"/v1/sessions/{session}/observe", {"values": [1], "timestamps": [late]})
        assert refused.status_code == 422 and words in refused.json()["error"]["message"]
    far = served.post(f"/v1/sessions/{session}/observe", {"values": [1], "timestamps": ["2030-01-01T00:00:00Z"]})
    assert far.status_code == 413
    assert served.position(session) == 4


def test_covariates_of_the_steps_are_taken(served: Served) -> None:
    session = served.open(COVARIATE_SUM)
    assert served.observe(session, values=[1, 2], future_covariates={"temperature": [1, None]})["position"] == 2
    answer = served.post(f"/v1/sessions/{session}/forecast", {"horizon": 2, "future_covariates": {"temperature": [1]}})
    assert answer.status_code == 422 and "future_covariates.temperature" in answer.json()["error"]["message"]


def test_a_forecast_leaves_the_session_where_it_is(served: Served) -> None:
    session = served.open(CALENDAR_SUM, first_timestamp="2024-07-01T00:00:00Z")
    served.observe(session, values=[1, 2])
    body = {"horizon": 3, "quantiles": [0.1, 0.9], "samples": 4, "seed": 1}
    answer = served.post(f"/v1/sessions/{session}/forecast", body)
    assert answer.status_code == 200
    ahead = answer.json()
    assert ahead["position"] == 2 and len(ahead["mean"]) == 3
    assert ahead["timestamps"] == [f"2024-07-01T0{hour}:00:00Z" for hour in (2, 3, 4)]
    assert ahead["quantiles"]["levels"] == [0.1, 0.9] and [len(row) for row in ahead["quantiles"]["values"]] == [2] * 3
    assert [len(path) for path in ahead["samples"]] == [3] * 4
    assert served.post(f"/v1/sessions/{session}/forecast", body).json() == ahead
    assert served.position(session) == 2


def test_a_forecaster_generates_values_and_moves(served: Served) -> None:
    session = served.open(seed=4)
    served.observe(session, values=[1])
    path = f"/v1/sessions/{session}/generate"
    drawn = served.post(path, {"steps": 3, "position": 1}).json()
    assert drawn["start"] == 1 and drawn["position"] == 4 and len(drawn["values"]) == 3
    assert served.post(path, {"steps": 3, "position": 1}).json() == drawn | {"repeated": True}
    refused = served.post(path, {"steps": 3, "max_tokens": 5})
    assert refused.status_code == 422 and "takes no max_tokens" in refused.json()["error"]["message"]


def test_text_is_taken_in_as_text_or_as_tokens(served: Served) -> None:
    session = served.open(known_models.NEXT_TOKEN)
    by_text = served.observe(session, text="abc")
    assert by_text["tokens"] == 3 and by_text["position"] == 3 and len(by_text["log_probabilities"]) == 3
    assert served.observe(session, tokens=[5, 6])["position"] == 5


def test_text_is_generated_whole_and_the_session_goes_on_from_it(served: Served) -> None:
    session = served.open(known_models.NEXT_TOKEN)
    served.observe(session, text="abc")
    path = f"/v1/sessions/{session}/generate"
    answer = served.post(path, {"max_tokens": 4, "temperature": 0, "position": 3})
    assert answer.json() == {
        "text": "defg",
        "tokens": [5, 6, 7, 8],
        "position": 7,
        "durable_position": 0,
        "finish_reason": "length",
    }
    assert served.post(path, {"max_tokens": 4, "temperature": 0, "position": 3}).json()["repeated"] is True
    assert served.post(path, {"max_tokens": 9, "temperature": 0, "stop": "jk"}).json()["text"] == "hi"


def test_streamed_text_is_the_same_text(served: Served) -> None:
    whole, streamed = (served.open(known_models.NEXT_TOKEN, seed=8) for _ in range(2))
    body = {"max_tokens": 50, "temperature": 1.5}
    expected = served.post(f"/v1/sessions/{whole}/generate", body).json()
    events = []
    with served.client.stream("POST", f"/v1/sessions/{streamed}/generate", json=body | {"stream": True}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = [line.removeprefix("data: ") for line in answer.iter_lines() if line]
    assert events[-1] == "[DONE]"
    pieces = [json.loads(event) for event in events[:-1]]
    assert "".join(piece["text"] for piece in pieces) == expected["text"]
    assert len(pieces) > 1 and pieces[-1]["finish_reason"] == "length" and pieces[-1]["position"] == 50


def test_a_stream_that_cannot_begin_answers_with_a_status(served: Served) -> None:
    session = served.open(known_models.NEXT_TOKEN)
    answer = served.post(f"/v1/sessions/{session}/generate", {"stream": True, "position": 4})
    assert answer.status_code == 409


def test_a_client_that_hangs_up_ends_the_generation_there(served: Served) -> None:
    session = served.open(known_models.NEXT_TOKEN)
    body = {"max_tokens": 4096, "stream": True}
    with served.client.stream("POST", f"/v1/sessions/{session}/generate", json=body) as answer:
        next(answer.iter_lines())
    observed = served.observe(session, text="a")  # waits for its turn, which comes when the generation has ended
    assert 16 < observed["position"] < 4096


def test_simultaneous_requests_are_put_in_order(served: Served) -> None:
    session = served.open()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: served.observe(session, values=[1]), range(40)))
    assert sorted(answer["position"] for answer in answers) == list(range(1, 41))


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({}, 422, "values: expected a list of at least one number or null"),
        ({"values": []}, 422, "values: expected a list of at least one"),
        ({"values": [1, "x"]}, 422, 'body.values.1: expected a number or null, got "x"'),
        ({"values": [1, [2]]}, 422, "body.values.1: expected a number or null, got a list of 1"),
        ({"values": 1}, 422, "body.values: expected a list or null, got 1"),
        ({"values": [1, 1e39]}, 422, "values.1: expected a number of at most 1e+36"),
        ({"values": [1] * 2001}, 413, "2000"),
        ({"values": [1], "text": "a"}, 422, "takes no text"),
        ({"text": "a"}, 422, "takes no text"),
        ({"values": [1], "timestamps": ["soon"]}, 422, "timestamps.0: expected ISO 8601"),
        ({"values": [1], "timestamps": []}, 422, "timestamps: expected one for each"),
        ({"values": [1], "future_covariates": {"wind": [1]}}, 422, "future_covariates"),
        ({"values": [1], "position": -1}, 422, "body.position: expected"),
        ({"values": [1], "position": 2**63}, 422, "body.position: expected"),
        ({"values": [1], "positon": 0}, 422, "body.positon: unknown parameter"),
    ],
)
def test_what_a_forecaster_cannot_observe_is_named(served: Served, body: object, status: int, words: str) -> None:
    session = served.open()
    answer = served.post(f"/v1/sessions/{session}/observe", body)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["error"]["message"]
    assert served.position(session) == 0


@pytest.mark.parametrize(
    ("operation", "body", "words"),
    [
        ("observe", {}, "either text or tokens"),
        ("observe", {"text": "a", "tokens": [1]}, "either text or tokens"),
        ("observe", {"values": [1]}, "takes no values"),
        ("observe", {"text": "ABC"}, "'A' (U+0041)"),
        ("observe", {"tokens": [99]}, "tokens.0: expected a token id from 0 to 27"),
        ("observe", {"tokens": [0]}, "other than 0"),
        ("observe", {"text": ""}, "expected at least 1"),
        ("generate", {"steps": 3}, "takes no steps"),
        ("generate", {"temperature": 3}, "body.temperature: expected a number at most 2"),
        ("generate", {"top_p": -0.1}, "body.top_p: expected a number at least 0"),
        ("generate", {"stop": ["a"] * 5}, "stop"),
        ("generate", {"stop": ""}, "stop"),
        ("generate", {"max_tokens": -1}, "body.max_tokens"),
        ("forecast", {"horizon": 3}, "use a forecast model"),
    ],
)
def test_what_a_text_model_cannot_do_is_named(served: Served, operation: str, body: object, words: str) -> None:
    session = served.open(known_models.NEXT_TOKEN)
    answer = served.post(f"/v1/sessions/{session}/{operation}", body)
    assert answer.status_code == 422, answer.text
    assert words in answer.json()["error"]["message"]
    assert served.position(session) == 0


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({}, 422, "body.horizon: expected a whole number, got nothing"),
        ({"horizon": 0}, 422, "body.horizon: expected a whole number at least 1"),
        ({"horizon": 101}, 413, "100"),
        ({"horizon": 2, "samples": 51}, 413, "50"),
        ({"horizon": 2, "quantiles": [1]}, 422, "body.quantiles.0: expected a number below 1"),
        ({"horizon": 2, "quantiles": []}, 422, "body.quantiles"),
    ],
)
def test_what_cannot_be_forecast_is_named(served: Served, body: object, status: int, words: str) -> None:
    session = served.open()
    served.observe(session, values=[1])
    answer = served.post(f"/v1/sessions/{session}/forecast", body)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["error"]["message"]


def test_a_key_of_no_length_is_refused(served: Served) -> None:
    answer = served.post(f"/v1/sessions/{served.open()}/observe", {"values": [1]}, **{"idempotency-key": ""})
    assert answer.status_code == 422 and answer.json()["error"]["parameter"] == "idempotency-key"
