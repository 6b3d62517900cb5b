from __future__ import annotations

import asyncio
import json
import struct
from typing import Any

import httpx
import numpy as np
import pytest

from service.protocols.native.bulk import Last, _in_order, read_records
from service.protocols.native.frames import HEADER
from service.sessions.ownership import SessionKey
from tests.known_models import NEXT_TOKEN, RUNNING_SUM
from tests.service.protocols.serving import Served

BINARY = {"content-type": "application/octet-stream"}


@pytest.fixture
def client(served: Served) -> httpx.Client:
    return served.client


def opened(client: httpx.Client, *names: str, model: str = RUNNING_SUM) -> list[str]:
    for name in names:
        client.delete(f"/v1/sessions/{name}")
        assert client.post("/v1/sessions", json={"model": model, "id": name}).status_code == 201
    return list(names)


def observe(client: httpx.Client, *sessions: dict[str, Any]) -> list[dict[str, Any]]:
    answer = client.post("/v1/observe", json={"sessions": list(sessions)})
    assert answer.status_code == 200, answer.text
    data: list[dict[str, Any]] = answer.json()["data"]
    return data


def frame(values: list[float], *, position: int = -1, number: int = 0) -> bytes:
    steps = np.array(values, "<f4")
    return HEADER.pack(b"UN", 1, 1, len(values), 1, 0, number, position, 0) + steps.tobytes()


def record(session: str, values: list[float], **header: int) -> bytes:
    return struct.pack("<H", len(session)) + session.encode() + frame(values, **header)


def told(body: bytes) -> list[bytes]:
    answers, start = [], 0
    while start < len(body):
        (length,) = struct.unpack_from("<I", body, start)
        answers.append(body[start + 4 : start + 4 + length])
        start += 4 + length
    return answers


def test_each_session_takes_its_own_steps_and_answers_in_order(client: httpx.Client) -> None:
    opened(client, "b1", "b2", "b3")
    answers = observe(
        client,
        {"session_id": "b2", "values": [5, 6]},
        {"session_id": "b1", "values": [1]},
        {"session_id": "b3", "values": [None, 2, 3]},
    )
    assert [(one["session_id"], one["start"], one["position"]) for one in answers] == [
        ("b2", 0, 2),
        ("b1", 0, 1),
        ("b3", 0, 3),
    ]


def test_an_answer_is_what_the_sessions_own_route_tells(client: httpx.Client) -> None:
    opened(client, "many", "alone")
    bulk = observe(client, {"session_id": "many", "values": [1, 2, 4]})[0]
    single = client.post("/v1/sessions/alone/observe", json={"values": [1, 2, 4]}).json()
    assert {"session_id": "many", **single} == bulk


def test_one_session_named_twice_takes_its_steps_in_the_order_given(client: httpx.Client) -> None:
    opened(client, "twice")
    answers = observe(client, *({"session_id": "twice", "values": [value]} for value in (1, 2, 3)))
    assert [one["start"] for one in answers] == [0, 1, 2]
    assert answers[2]["quantiles"]["values"][0][1] == 3


def test_a_session_that_fails_costs_the_others_nothing(client: httpx.Client) -> None:
    opened(client, "well")
    client.delete("/v1/sessions/gone")
    answers = observe(
        client,
        {"session_id": "gone", "values": [1]},
        {"session_id": "well", "values": [1], "position": 7},
        {"session_id": "well", "values": [1e300]},
        {"session_id": "well", "text": "a"},
        {"session_id": "well", "values": []},
        {"session_id": "well", "values": [1]},
    )
    assert [one.get("error", {}).get("code") for one in answers] == [
        *("session_not_found", "position_conflict", "input_mismatch", "input_mismatch", "input_mismatch"),
        None,
    ]
    assert answers[1]["error"]["position"] == 0 and answers[5]["position"] == 1


def test_a_repeated_step_gets_its_recorded_answer(client: httpx.Client) -> None:
    opened(client, "again")
    step = {"session_id": "again", "values": [3, 4], "position": 0}
    first, second = observe(client, step)[0], observe(client, step)[0]
    assert second == first | {"repeated": True}
    keyed = {"session_id": "again", "values": [5], "idempotency_key": "k"}
    assert observe(client, keyed)[0]["position"] == observe(client, keyed)[0]["position"] == 3


def test_text_sessions_take_text(client: httpx.Client) -> None:
    opened(client, "t1", model=NEXT_TOKEN)
    assert observe(client, {"session_id": "t1", "text": "ab"})[0]["tokens"] == 2


def test_binary_records_are_answered_by_frames_and_errors_by_json(client: httpx.Client) -> None:
    opened(client, "x1", "x2")
    body = record("x1", [1, 2], number=7) + record("none", [1]) + record("x2", [3], number=9, position=0)
    answer = client.post("/v1/observe", content=body, headers=BINARY)
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/octet-stream"
    first, error, last = told(answer.content)
    assert HEADER.unpack_from(first)[3] == 2 and HEADER.unpack_from(first)[6:8] == (7, 2)
    assert json.loads(error)["error"]["code"] == "session_not_found"
    assert HEADER.unpack_from(last)[6:8] == (9, 1)
    again = told(client.post("/v1/observe", content=record("x2", [3], number=9, position=0), headers=BINARY).content)[0]
    assert HEADER.unpack_from(again)[5] == 1 and again[HEADER.size :] == last[HEADER.size :]


@pytest.mark.parametrize(
    "body",
    [
        b"\x01",
        struct.pack("<H", 3) + b"abc",
        struct.pack("<H", 2) + b"\xff\xff" + frame([1]),
        record("a", [1, 2])[:-1],
    ],
)
def test_a_broken_binary_body_is_refused_as_a_whole(client: httpx.Client, body: bytes) -> None:
    opened(client, "whole")
    answer = client.post("/v1/observe", content=record("whole", [1]) + body, headers=BINARY)
    assert answer.status_code == 400 and "record 1" in answer.json()["error"]["message"]
    assert client.get("/v1/sessions/whole").json()["position"] == 0


def test_no_record_is_read_past_the_bound() -> None:
    assert len(read_records(record("a", [1]) * 3, 3)) == 3
    with pytest.raises(Exception, match="at most 2 sessions"):
        read_records(record("a", [1]) * 3, 2)


def test_more_sessions_than_one_request_may_name_are_refused(client: httpx.Client) -> None:
    answer = client.post("/v1/observe", json={"sessions": [{"session_id": "a", "values": [1]}] * 257})
    assert answer.status_code == 413 and "UNROLL_MAX_INPUTS" in answer.json()["error"]["message"]


def test_steps_of_one_session_wait_for_those_before_whatever_these_take() -> None:
    """Also where another replica was faster at the first, which is then answered only after another try."""
    done: list[str] = []

    async def answer(name: str, turns: int) -> bytes:
        for _ in range(turns):
            await asyncio.sleep(0)
        done.append(name)
        return name.encode()

    async def both() -> list[bytes]:
        last: Last = {SessionKey("a"): asyncio.ensure_future(answer("first", 20))}
        first = last[SessionKey("a")]
        second = _in_order(last, SessionKey("a"), lambda: answer("second", 1))
        other = _in_order(last, SessionKey("b"), lambda: answer("another's", 1))
        return list(await asyncio.gather(first, second, other))

    assert asyncio.run(both()) == [b"first", b"second", b"another's"] and done == ["another's", "first", "second"]
