"""Triton's sequences: begun, gone on with, ended, begun anew, repeated, and never mixed."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any
from uuid import uuid4

import pytest

from service.protocols.inference_v2.sequences import session_id_of
from service.sessions.ownership import SESSION_ID, SessionKey
from tests.service.protocols.inference_v2.asking import MODEL, TEXT, ask, centres, refused, step, tensor
from tests.service.protocols.serving import CALENDAR_SUM, COVARIATE_SUM, STATIC_SUM, Served

_numbers = count(1000)


@pytest.fixture
def number() -> int:
    """A sequence id that nobody has used."""
    return next(_numbers)


def test_a_sequence_remembers_from_request_to_request(served: Served, number: int) -> None:
    first = step(served, number, 1, 2, sequence_start=True)
    second = step(served, number, 3)
    assert centres(first) == [None, 1] and centres(second) == [3]
    assert second["parameters"] == {"sequence_id": number, "position": 3, "durable_position": 0}
    assert (second["model_name"], second["model_version"]) == (MODEL, "1")


@pytest.mark.parametrize("sequence_id", [2**64 - 1, uuid4().hex, "line 4: pump/7", "é", "x" * 500])
def test_a_sequence_is_called_by_a_number_or_any_text(served: Served, sequence_id: int | str) -> None:
    step(served, sequence_id, 5, sequence_start=True)
    answer = step(served, sequence_id, 1)
    assert centres(answer) == [5] and answer["parameters"]["sequence_id"] == sequence_id


@pytest.mark.parametrize("sequence_id", [0, ""])
def test_zero_and_nothing_are_no_sequence(served: Served, sequence_id: int | str) -> None:
    answer = ask(served, tensor("target", [[1, 2]]), sequence_id=sequence_id, sequence_start=False)
    assert answer.status_code == 200 and "parameters" not in answer.json()
    message = refused(ask(served, tensor("target", [[1]]), sequence_id=sequence_id, sequence_start=True))
    assert "parameters.sequence_start: expected a sequence_id with it" in message


def test_the_session_of_a_sequence_serves_the_other_protocols_too(served: Served, number: int) -> None:
    step(served, number, 1, 2, sequence_start=True)
    assert served.observe(f"{MODEL}:{number}", values=[10])["position"] == 3
    assert centres(step(served, number, 1)) == [13]


def test_sequences_of_two_models_are_two(served: Served, number: int) -> None:
    step(served, number, 1, sequence_start=True)
    tokens = tensor("tokens", [[1, 2]], "INT64")
    answer = ask(served, tokens, model=TEXT, sequence_id=number, sequence_start=True)
    assert answer.json()["parameters"]["position"] == 2
    assert step(served, number, 1)["parameters"]["position"] == 2


def test_the_number_and_the_text_of_it_are_two_sequences(served: Served, number: int) -> None:
    step(served, number, 1, sequence_start=True)
    assert f"has no sequence '{number}'" in refused(ask(served, tensor("target", [[1]]), sequence_id=str(number)))


def test_a_session_of_another_model_is_not_gone_on_with(served: Served, number: int) -> None:
    served.open(TEXT, id=f"{MODEL}:{number}")
    message = refused(ask(served, tensor("target", [[1]]), sequence_id=number))
    assert f"session {MODEL}:{number} is on model {TEXT}, not on {MODEL}" in message


@pytest.mark.parametrize("sequence_id", [7, "pump-7", "7", "a:b", "id:0", "-", "ü" * 300, "x" * 64])
def test_a_session_id_fits_and_names_its_model(sequence_id: int | str) -> None:
    found = session_id_of("m" * 64, sequence_id)
    assert SESSION_ID.fullmatch(found) and found.startswith("m" * 64 + ":")


def test_no_two_sequences_share_a_session_id() -> None:
    named: list[int | str] = [7, "7", "07", "id", "id:7", ":7", "7:", "x" * 63, "x" * 64, session_id_of("m", "7")]
    assert len({session_id_of("m", one) for one in named}) == len(named)


def test_an_unknown_sequence_needs_its_start(served: Served, number: int) -> None:
    message = refused(ask(served, tensor("target", [[1]]), sequence_id=number))
    assert message == (
        f"parameters.sequence_id: model running-sum has no sequence {number}: its first request needs sequence_start"
    )


def test_an_ended_sequence_is_unknown(served: Served, number: int) -> None:
    step(served, number, 1, sequence_start=True)
    assert centres(step(served, number, 2, sequence_end=True)) == [1]
    refused(ask(served, tensor("target", [[1]]), sequence_id=number))
    assert served.client.get(f"/v1/sessions/{MODEL}:{number}").status_code == 404


def test_a_sequence_of_one_request(served: Served, number: int) -> None:
    step(served, number, 1, sequence_start=True, sequence_end=True)
    assert served.client.get(f"/v1/sessions/{MODEL}:{number}").status_code == 404


def test_a_second_start_begins_anew(served: Served, number: int) -> None:
    step(served, number, 1, 2, sequence_start=True)
    assert centres(step(served, number, 5, 6, sequence_start=True)) == [None, 5]
    assert step(served, number, 1)["parameters"]["position"] == 3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"position": 4}, "expected 0 where a sequence starts, got 4"),
        ({"first_timestamp": "soon"}, "parameters.first_timestamp: expected ISO 8601"),
        ({"static_covariates": "{}}"}, "expected a JSON object of numbers and texts in a text"),
        ({"static_covariates": '{"level": [1]}'}, "expected a JSON object of numbers and texts in a text"),
        ({"static_covariates": '{"level": 1}'}, "takes none, got level"),
        ({"horizon": 0}, "parameters.horizon: expected a whole number at least 1, got 0"),
        ({"colour": 1}, "parameters.colour: unknown parameter"),
        ({"sequence_id": -1}, "parameters.sequence_id"),
        ({"sequence_start": 1}, "parameters.sequence_start: expected true or false, got 1"),
    ],
)
def test_a_refused_start_leaves_the_sequence_as_it_was(
    served: Served, number: int, wrong: dict[str, Any], message: str
) -> None:
    step(served, number, 1, 2, sequence_start=True)
    parameters = {"sequence_id": number, "sequence_start": True} | wrong
    assert message in refused(ask(served, tensor("target", [[1]]), **parameters))
    assert centres(step(served, number, 9)) == [3]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "input 'target': expected it, got none"),
        ([tensor("x", [[1]])], "input 'x': model running-sum/1 takes target"),
        ([tensor("target", [[1], [2]])], "expected a batch of 1 in a sequence, got 2"),
        ([tensor("target", [[[1]]])], r"expected shape [-1, -1]"),
        ([tensor("target", [[]])], r"got [1, 0]"),
        ([tensor("target", [[1]], "FP64")], "expected datatype FP32, got FP64"),
        ([tensor("target", [[1e37]])], "expected numbers of at most 1e+36 in size"),
        ([tensor("target", [[1]]), tensor("target", [[1]])], "expected each input once"),
    ],
)
def test_inputs_that_do_not_fit_change_nothing(
    served: Served, number: int, inputs: list[dict[str, Any]], message: str
) -> None:
    step(served, number, 1, 2, sequence_start=True)
    for start in (True, False):
        assert message in refused(ask(served, *inputs, sequence_id=number, sequence_start=start))
    assert centres(step(served, number, 9)) == [3]


def test_a_failed_start_leaves_nothing_behind(served: Served, number: int) -> None:
    answer = ask(served, tensor("target", [[1e30]]), sequence_id=number, sequence_start=True)
    assert "failed to run" in refused(answer, 500)
    refused(ask(served, tensor("target", [[1]]), sequence_id=number))


def test_a_repeated_position_is_answered_again(served: Served, number: int) -> None:
    step(served, number, 1, sequence_start=True)
    first = step(served, number, 2, position=1)
    again = step(served, number, 2, position=1)
    assert again["outputs"] == first["outputs"]
    assert again["parameters"] == first["parameters"] | {"repeated": True}


def test_another_position_is_a_conflict_that_tells_where_the_sequence_is(served: Served, number: int) -> None:
    step(served, number, 1, 2, sequence_start=True)
    answer = ask(served, tensor("target", [[3]]), sequence_id=number, position=7)
    assert answer.status_code == 409
    assert answer.json() | {"error": ""} == {"error": "", "position": 2, "durable_position": 0}
    assert "expected position 7, but it is at 2" in answer.json()["error"]


def test_a_key_makes_a_step_safe_to_send_again(served: Served, number: int) -> None:
    step(served, number, 1, sequence_start=True)
    first = step(served, number, 2, headers={"Idempotency-Key": "k"})
    assert step(served, number, 2, idempotency_key="k")["outputs"] == first["outputs"]
    assert step(served, number, 4)["parameters"]["position"] == 3


def test_a_start_sent_again_with_its_key_does_not_begin_anew(served: Served, number: int) -> None:
    start = {"sequence_start": True, "idempotency_key": "the start"}
    first = step(served, number, 1, **start)
    session = served.context.service.store.find(SessionKey(f"{MODEL}:{number}"))
    again = step(served, number, 1, **start)
    assert again["parameters"]["repeated"] and again["outputs"] == first["outputs"]
    assert served.context.service.store.find(SessionKey(f"{MODEL}:{number}")) is session


def test_a_version_in_the_path_is_the_sequences_own(served: Served, number: int) -> None:
    parameters = {"sequence_id": number, "sequence_start": True}
    body = {"inputs": [tensor("target", [[1]])], "parameters": parameters}
    assert served.post(f"/v2/models/{MODEL}/versions/1/infer", body).json()["model_version"] == "1"
    parameters["sequence_start"] = False
    assert served.post(f"/v2/models/{MODEL}/versions/1/infer", body).status_code == 200
    answer = served.post(f"/v2/models/{MODEL}/versions/2/infer", body)
    assert f"sequence {number} is on version 1 of model running-sum, not on 2" in refused(answer)
    parameters["sequence_start"] = True
    refused(served.post(f"/v2/models/{MODEL}/versions/2/infer", body), 404)


def test_an_unknown_model_is_that_whatever_the_sequence(served: Served, number: int) -> None:
    assert "got 'nobody'" in refused(ask(served, tensor("x", [[1]]), model="nobody", sequence_id=number), 404)


def test_a_calendar_model_is_told_when_the_sequence_begins(served: Served, number: int) -> None:
    start: dict[str, Any] = {"model": CALENDAR_SUM, "sequence_id": number, "sequence_start": True}
    message = refused(ask(served, tensor("target", [[1]]), **start))
    assert "looks at the calendar" in message
    answer = ask(served, tensor("target", [[1, 2, 3]]), **start, first_timestamp="2024-07-01T06:00:00Z")
    assert answer.status_code == 200, answer.text
    native = served.open(CALENDAR_SUM, first_timestamp="2024-07-01T06:00:00Z")
    expected = served.observe(native, values=[1, 2, 3])["quantiles"]["values"]
    assert centres(answer.json())[1:] == [row[1] for row in expected[1:]]
    goes_on = ask(served, tensor("target", [[4]]), model=CALENDAR_SUM, sequence_id=number)
    assert centres(goes_on.json()) == [served.observe(native, values=[4])["quantiles"]["values"][0][1]]
    later = ask(served, tensor("target", [[4]]), model=CALENDAR_SUM, sequence_id=number, first_timestamp="2024-07-01")
    assert "parameters.first_timestamp: expected only where the sequence starts" in refused(later)


def test_static_covariates_begin_a_sequence(served: Served, number: int) -> None:
    start: dict[str, Any] = {"model": STATIC_SUM, "sequence_id": number, "sequence_start": True}
    answer = ask(served, tensor("target", [[1, 2]]), **start, static_covariates='{"level": 100}')
    assert centres(answer.json()) == [None, 101]


def test_covariates_come_with_every_step(served: Served, number: int) -> None:
    start: dict[str, Any] = {"model": COVARIATE_SUM, "sequence_id": number, "sequence_start": True}
    inputs = tensor("target", [[1, 2]]), tensor("covariates", [[[10], [20]]])
    assert centres(ask(served, *inputs, **start).json()) == [None, 21]
    assert "input 'covariates': expected it, got target" in refused(ask(served, inputs[0], **start))
    uneven = ask(served, inputs[0], tensor("covariates", [[[10]]]), **start)
    assert "expected batch and length of 'target', [1, 2], got [1, 1]" in refused(uneven)


def test_a_text_models_sequence_takes_tokens_in(served: Served, number: int) -> None:
    first = ask(served, tensor("tokens", [[1, 2, 3]], "INT64"), model=TEXT, sequence_id=number, sequence_start=True)
    assert first.json()["parameters"]["position"] == 3
    (given,) = first.json()["outputs"]
    assert (given["name"], given["shape"]) == ("log_probabilities", [1, 3])
    for wrong in (-1, 0, 10_000):
        answer = ask(served, tensor("tokens", [[wrong]], "INT64"), model=TEXT, sequence_id=number, sequence_start=True)
        assert f"expected token ids from 0 to 27, other than 0, got {wrong}" in refused(answer)
    assert (
        ask(served, tensor("tokens", [[4]], "INT64"), model=TEXT, sequence_id=number).json()["parameters"]["position"]
        == 4
    )
    begin: dict[str, Any] = {"model": TEXT, "sequence_id": number, "sequence_start": True}
    timed = ask(served, tensor("tokens", [[4]], "INT64"), **begin, first_timestamp="2024-07-01")
    assert "text models have none" in refused(timed)


def test_requests_of_one_sequence_never_mix(served: Served, number: int) -> None:
    step(served, number, 0, sequence_start=True)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: step(served, number, 1), range(40)))
    assert sorted(answer["parameters"]["position"] for answer in answers) == list(range(2, 42))
    assert sorted(centre for answer in answers for centre in centres(answer)) == list(range(40))


def test_starts_at_once_leave_one_sequence(served: Served, number: int) -> None:
    barrier = threading.Barrier(8)

    def start(value: int) -> int:
        barrier.wait()
        answer = ask(served, tensor("target", [[value]]), sequence_id=number, sequence_start=True)
        # One whose sequence was begun anew before its turn came is told so.
        assert answer.status_code in (200, 400), answer.text
        return answer.status_code

    with ThreadPoolExecutor(8) as pool:
        assert 200 in list(pool.map(start, range(8)))
    assert step(served, number, 1)["parameters"]["position"] == 2
