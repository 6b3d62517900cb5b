"""A classifier through every protocol: HTTP, WebSocket, bulk and V2, whole and in pieces."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient import grpc as triton_grpc
from tritonclient import http as triton_http

from tests.known_models import CLASSES, TOKEN_COUNTS, token_counts
from tests.service.protocols.serving import Served, serve

WORD = "abb"
EXPECTED = [[0.25, 0.25, 0.5], [0.4, 0.2, 0.4], [0.5, 1 / 6, 1 / 3]]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("classifiers") / "models"
    token_counts(folder)
    with serve(folder, grpc_port=0) as running:
        yield running


def test_the_model_tells_its_classes(served: Served) -> None:
    model = served.client.get(f"/v1/models/{TOKEN_COUNTS}").json()
    assert model["task"] == "classify"
    assert model["classify"]["classes"] == list(CLASSES) and model["classify"]["labelled"] == "step"


def test_a_word_is_classified_as_a_whole(served: Served) -> None:
    seen = served.observe(served.open(TOKEN_COUNTS), text=WORD)
    np.testing.assert_allclose(seen["probabilities"]["values"], EXPECTED, rtol=1e-6)
    assert seen["probabilities"]["classes"] == list(CLASSES)
    assert seen["labels"] == ["third", "first", "first"]
    assert (seen["start"], seen["position"]) == (0, 3) and "unknown" not in seen


def test_a_word_is_classified_one_character_at_a_time(served: Served) -> None:
    whole = served.observe(served.open(TOKEN_COUNTS), text=WORD)
    session = served.open(TOKEN_COUNTS)
    seen = [served.observe(session, text=character) for character in WORD]
    assert [row for one in seen for row in one["probabilities"]["values"]] == whole["probabilities"]["values"]
    assert [label for one in seen for label in one["labels"]] == whole["labels"]


def test_characters_never_seen_are_counted(served: Served) -> None:
    assert served.observe(served.open(TOKEN_COUNTS), text="aé")["unknown"] == 1


def test_a_repeated_request_says_so(served: Served) -> None:
    session = served.open(TOKEN_COUNTS)
    first = served.observe(session, text=WORD, position=0)
    again = served.observe(session, text=WORD, position=0)
    assert again.pop("repeated") is True and again == first


def test_a_stream_over_a_websocket(served: Served) -> None:
    whole = served.observe(served.open(TOKEN_COUNTS), text=WORD)
    with served.stream(served.open(TOKEN_COUNTS)) as stream:
        values = []
        for number, character in enumerate(WORD):
            stream.send(json.dumps({"type": "observe", "id": number, "text": character}))
            answer = json.loads(stream.recv())
            assert (answer["type"], answer["id"], answer["position"]) == ("observe", number, number + 1)
            values += answer["probabilities"]["values"]
        assert values == whole["probabilities"]["values"]
        stream.send(bytes(36))
        assert "error" in json.loads(stream.recv())


def test_many_sessions_in_one_request(served: Served) -> None:
    first, second = served.open(TOKEN_COUNTS), served.open(TOKEN_COUNTS)
    asked = [
        {"session_id": first, "text": WORD[:2]},
        {"session_id": second, "tokens": [2, 3, 3]},
        {"session_id": first, "text": WORD[2:]},
        {"session_id": second, "values": [1.0]},
    ]
    answers = served.post("/v1/observe", {"sessions": asked}).json()["data"]
    assert answers[1]["probabilities"]["values"][-1] == answers[2]["probabilities"]["values"][-1]
    assert answers[3]["error"]["message"] == "values: model token-counts/1 of task 'classify' takes no values"


@pytest.mark.parametrize(
    ("route", "body", "says"),
    [
        ("observe", {"values": [1.0]}, "of task 'classify' takes no values"),
        ("observe", {}, "expected either text or tokens, got neither"),
        ("forecast", {"horizon": 2}, "token-counts classifies sequences: use a forecast model"),
        ("generate", {"steps": 2}, "token-counts classifies sequences: use a text or forecast model"),
    ],
)
def test_what_a_classifier_does_not_do_is_refused(served: Served, route: str, body: dict[str, Any], says: str) -> None:
    session = served.open(TOKEN_COUNTS)
    answer = served.post(f"/v1/sessions/{session}/{route}", body)
    assert answer.status_code == 422 and says in answer.json()["error"]["message"]
    assert served.position(session) == 0


def test_generating_tokens_is_refused(served: Served) -> None:
    answer = served.post(f"/v1/sessions/{served.open(TOKEN_COUNTS)}/generate", {"max_tokens": 3})
    assert answer.status_code == 422
    assert "token-counts classifies sequences" in answer.json()["error"]["message"]
    answer = served.post("/v1/completions", {"model": TOKEN_COUNTS, "prompt": "a"})
    assert answer.status_code in (400, 422) and "classifies sequences: use a text model" in answer.text
    answer = served.post(f"/v2/models/{TOKEN_COUNTS}/generate", {"text_input": "a"})
    assert answer.status_code == 400 and "classifies sequences: use a text model" in answer.text


def test_a_start_in_time_is_refused(served: Served) -> None:
    answer = served.post("/v1/sessions", {"model": TOKEN_COUNTS, "first_timestamp": "2024-01-01"})
    assert answer.status_code == 422 and "first_timestamp: classifiers have none" in answer.text


def test_v2_describes_probabilities_and_classifies_a_batch(served: Served) -> None:
    client = triton_http.InferenceServerClient(served.url.removeprefix("http://"))
    described = client.get_model_metadata(TOKEN_COUNTS)["outputs"]
    assert described == [{"name": "probabilities", "datatype": "FP32", "shape": [-1, -1, 3]}]
    tokens = triton_http.InferInput("tokens", [2, 3], "INT64")
    tokens.set_data_from_numpy(np.array([[2, 3, 3], [0, 0, 0]], np.int64))
    found = client.infer(TOKEN_COUNTS, [tokens]).as_numpy("probabilities")
    np.testing.assert_allclose(found[0], EXPECTED, rtol=1e-6)
    assert found[1].argmax(-1).tolist() == [0, 0, 0]
    client.close()


def test_v2_tells_the_likeliest_classes_by_name(served: Served) -> None:
    expected = [[b"0.500000:2:third", b"0.250000:0:first"], [b"0.400000:0:first", b"0.400000:2:third"]]
    with triton_grpc.InferenceServerClient(served.grpc_address) as client:
        assert "classification" in client.get_server_metadata().extensions
        tokens = triton_grpc.InferInput("tokens", [1, 2], "INT64")
        tokens.set_data_from_numpy(np.array([[2, 3]], np.int64))
        wanted = [triton_grpc.InferRequestedOutput("probabilities", class_count=2)]
        assert client.infer(TOKEN_COUNTS, [tokens], outputs=wanted).as_numpy("probabilities").tolist() == [expected]
    http_client = triton_http.InferenceServerClient(served.url.removeprefix("http://"))
    again = triton_http.InferInput("tokens", [1, 2], "INT64")
    again.set_data_from_numpy(np.array([[2, 3]], np.int64))
    for binary in (True, False):
        asked = [triton_http.InferRequestedOutput("probabilities", binary_data=binary, class_count=2)]
        found = http_client.infer(TOKEN_COUNTS, [again], outputs=asked).as_numpy("probabilities")
        assert [[str(told, "utf-8") if isinstance(told, bytes) else told for told in row] for row in found[0]] == [
            [told.decode() for told in row] for row in expected
        ]
    http_client.close()


@pytest.mark.parametrize("count", [0, -1, "2", True, 1.5])
def test_a_count_of_classes_that_is_none_is_refused(served: Served, count: Any) -> None:
    body = {
        "inputs": [{"name": "tokens", "datatype": "INT64", "shape": [1, 1], "data": [2]}],
        "outputs": [{"name": "probabilities", "parameters": {"classification": count}}],
    }
    answer = served.post(f"/v2/models/{TOKEN_COUNTS}/infer", body)
    assert answer.status_code == 400 and "or classification, how many of the" in answer.text


def test_a_v2_sequence_is_classified_as_it_arrives(served: Served) -> None:
    with triton_grpc.InferenceServerClient(served.grpc_address) as client:
        found = []
        for number, token in enumerate([2, 3, 3]):
            tokens = triton_grpc.InferInput("tokens", [1, 1], "INT64")
            tokens.set_data_from_numpy(np.array([[token]], np.int64))
            flags = {"sequence_start": number == 0, "sequence_end": number == 2}
            found.append(client.infer(TOKEN_COUNTS, [tokens], sequence_id=7, **flags).as_numpy("probabilities")[0])
    np.testing.assert_allclose(np.concatenate(found), EXPECTED, rtol=1e-6)


def test_a_v2_request_that_looks_ahead_is_refused(served: Served) -> None:
    body = {
        "inputs": [{"name": "tokens", "datatype": "INT64", "shape": [1, 1], "data": [2]}],
        "parameters": {"horizon": 3},
    }
    answer = served.post(f"/v2/models/{TOKEN_COUNTS}/infer", body)
    assert answer.status_code == 400 and "classifies sequences and takes no horizon" in answer.text


def test_a_v2_token_that_does_not_exist_is_refused(served: Served) -> None:
    body = {"inputs": [{"name": "tokens", "datatype": "INT64", "shape": [1, 1], "data": [28]}]}
    answer = served.post(f"/v2/models/{TOKEN_COUNTS}/infer", body)
    assert answer.status_code == 400 and "token ids from 0 to 27, got 28" in answer.text


def test_sessions_of_classifiers_are_forked_and_snapshotted(served: Served) -> None:
    session = served.open(TOKEN_COUNTS)
    served.observe(session, text=WORD[:2])
    fork = served.post(f"/v1/sessions/{session}/fork", {}).json()["id"]
    blob = served.client.get(f"/v1/sessions/{session}/snapshot").content
    again = served.open(TOKEN_COUNTS, snapshot=base64.b64encode(blob).decode())
    answers = [served.observe(one, text=WORD[2:])["probabilities"]["values"] for one in (session, fork, again)]
    assert answers[0] == answers[1] == answers[2]


def test_a_stream_goes_on_after_a_restart(tmp_path: Path) -> None:
    token_counts(tmp_path / "models")
    kept = {"journal": f"sqlite://{tmp_path / 'kept.db'}"}
    with serve(tmp_path / "models", **kept) as before:
        session = before.open(TOKEN_COUNTS)
        before.observe(session, text=WORD[:2])
    with serve(tmp_path / "models", **kept) as after:
        seen = after.observe(session, text=WORD[2:])
    assert seen["restored"] is True and (seen["start"], seen["durable_position"]) == (2, 3)
    np.testing.assert_allclose(seen["probabilities"]["values"], EXPECTED[2:], rtol=1e-6)
