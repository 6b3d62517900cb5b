"""Many requests of many sequences over one stream."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import PositionConflict
from service.protocols.inference_v2 import inference_pb2 as messages
from service.protocols.inference_v2.grpc_stream import refusal
from tests.known_models import RUNNING_SUM
from tests.service.protocols.inference_v2.grpc_clients import (
    call_stream,
    centres,
    channel,
    parameters,
    stream,
    streamed,
    until,
    values,
)
from tests.service.protocols.serving import STATIC_SUM, Served
from tests.service.running import gated


def message(sequence: int | None = None, steps: int = 1, *, start: bool = False, **fields: Any) -> bytes:
    """A request of the running sum with ones, as bytes."""
    request = messages.ModelInferRequest(model_name=RUNNING_SUM, **fields)
    request.inputs.add(name="target", datatype="FP32", shape=[1, steps]).contents.fp32_contents.extend([1.0] * steps)
    if sequence is not None:
        request.parameters["sequence_id"].int64_param = sequence
        request.parameters["sequence_start"].bool_param = start
    return request.SerializeToString()


def answered(content: bytes) -> messages.ModelStreamInferResponse:
    return messages.ModelStreamInferResponse.FromString(content)


def test_many_sequences_go_on_beside_each_other(served: Served) -> None:
    sequences, steps = 40, 12
    with stream(served.grpc_address) as client:
        for step in range(steps):
            for sequence in range(1, sequences + 1):
                told = {"sequence_start": step == 0, "sequence_end": step == steps - 1}
                client.send(RUNNING_SUM, values(sequence), request_id=f"{sequence}", sequence_id=sequence, **told)
        seen: dict[int, list[float]] = {sequence: [] for sequence in range(1, sequences + 1)}
        for result in client.results(sequences * steps):
            seen[int(result.get_response().id)] += centres(result)
    assert seen == {number: [-1, *(number * step for step in range(1, steps))] for number in seen}


@settings(max_examples=20)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3)), max_size=30))
def test_any_interleaving_gives_each_sequence_what_it_gives_alone(served: Served, steps: list[tuple[int, int]]) -> None:
    alone: dict[int, int] = {}
    requests: list[bytes] = []
    expected: list[int] = []
    for sequence, length in steps:
        requests.append(message(600 + sequence, length, start=sequence not in alone, id=str(len(requests))))
        alone[sequence] = alone.get(sequence, 0) + length
        expected.append(alone[sequence])
    answers, status = call_stream(served.grpc_address, requests)
    assert status is grpc.StatusCode.OK
    found = [answered(content).infer_response for content in answers]
    in_order = sorted(found, key=lambda response: int(response.id))
    assert [response.parameters["position"].int64_param for response in in_order] == expected


def test_what_is_wrong_with_one_request_is_its_own_answer(served: Served) -> None:
    with stream(served.grpc_address) as client:
        client.send(RUNNING_SUM, values(1), sequence_id=501, sequence_start=True)
        client.send(RUNNING_SUM, values(1), sequence_id=501, parameters={"position": 8})
        client.send(RUNNING_SUM, values(1), sequence_id=501)
        assert centres(client.results(1)[0]) == [-1]
        result, error = client.next()
        assert result is None and "8" in error.message()
        assert centres(client.results(1)[0]) == [1]


def test_an_error_says_which_request_it_is_about(served: Served) -> None:
    answers, status = call_stream(served.grpc_address, [message(502, id="seven"), message(503, start=True, id="eight")])
    told = {answered(content).infer_response.id: answered(content).error_message for content in answers}
    assert "sequence_start" in told["seven"] and told["eight"] == "" and status is grpc.StatusCode.OK


def test_an_error_on_a_stream_tells_what_a_call_would() -> None:
    told = refusal(PositionConflict("elsewhere", position=7, durable_position=5), "r").infer_response
    assert {name: value.string_param for name, value in told.parameters.items()} | {"x-request-id": ""} == {
        "unroll-code": "position_conflict",
        "unroll-position": "7",
        "unroll-durable-position": "5",
        "x-request-id": "",
    }


def test_requests_without_a_sequence_are_answered_in_their_order(served: Served) -> None:
    with stream(served.grpc_address) as client:
        for number in range(60):
            client.send(RUNNING_SUM, values(*[number] * (1 + 400 * (number % 3))), request_id=str(number))
        assert [result.get_response().id for result in client.results(60)] == [str(number) for number in range(60)]


def test_a_request_that_takes_long_keeps_no_other_sequence_waiting(served: Served) -> None:
    slow = served.context.service.repository.get(STATIC_SUM)
    static = {"static_covariates": '{"level": 1}'}
    with gated(slow, "observe") as gate, stream(served.grpc_address) as client:
        gate.close()
        for start in (True, False):
            client.send(
                STATIC_SUM, values(1), sequence_id=504, sequence_start=start, parameters=static if start else None
            )
            client.send(RUNNING_SUM, values(1), sequence_id=504, sequence_start=start)
        assert [centres(result) for result in client.results(2)] == [[-1], [1]]
        gate.open()
        assert [centres(result) for result in client.results(2)] == [[-1], [2]]


def test_a_client_that_does_not_read_is_not_read_from(served: Served) -> None:
    total, sent = 2500, 0

    def requests() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(total):
            sent += 1
            yield message(steps=2000)

    with channel(served.grpc_address) as opened:
        answers = streamed(opened, requests())
        stood = until_it_stands(lambda: sent)
        assert stood < total
        for _ in range(stood):
            next(answers)
        until(lambda: sent > stood)
        answers.cancel()
    until(lambda: served.context.traffic.active == 0)


def until_it_stands(count: Callable[[], int]) -> int:
    """The count once it no longer grows."""
    before = -1
    while before != (now := count()):
        before = now
        time.sleep(1)
    return before


def resting_position(served: Served, session: str) -> int:
    """Where the session stands once the step that was under way has been taken."""
    before, now = -1, served.position(session)
    while now != before:
        time.sleep(0.1)
        before, now = now, served.position(session)
    return now


def test_a_client_that_goes_away_leaves_its_sequence_where_it_was(served: Served) -> None:
    session = f"{RUNNING_SUM}:506"
    pending: queue.Queue[bytes | None] = queue.Queue()
    with channel(served.grpc_address) as opened:
        answers = streamed(opened, iter(pending.get, None))
        pending.put(message(506, start=True))
        next(answers)
        for _ in range(200):
            pending.put(message(506))
        next(answers)
        answers.cancel()
    pending.put(None)
    until(lambda: served.context.traffic.active == 0)
    position = resting_position(served, session)
    assert 2 <= position <= 201
    answer = served.observe(session, values=[1], position=position)
    assert answer["quantiles"]["values"][0][1] == position


def test_a_client_learns_which_answer_is_the_last(served: Served) -> None:
    with stream(served.grpc_address) as client:
        client.send(RUNNING_SUM, values(1), enable_empty_final_response=True)
        client.send(RUNNING_SUM, values(1))
        final, plain = client.results(2)
    assert parameters(final) == {"triton_final_response": True} and parameters(plain) == {}


def test_a_message_that_is_none_ends_the_stream_after_what_came_before(served: Served) -> None:
    answers, status = call_stream(served.grpc_address, [message(505, start=True, id="first"), b"\xff\xff"])
    assert [answered(content).infer_response.id for content in answers] == ["first"]
    assert status is grpc.StatusCode.INVALID_ARGUMENT
