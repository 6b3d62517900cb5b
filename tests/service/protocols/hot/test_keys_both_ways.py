"""API keys below the application: the same answers as through it, one connection's callers never mixed, and an end at
once to a key that is taken back."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.known_models import RUNNING_SUM
from tests.service.protocols.hot.both_ways import THROUGH
from tests.service.protocols.hot.frames import TEXT, Socket, close_code, frame, observing, steps
from tests.service.protocols.hot.noting import Noted
from tests.service.protocols.hot.raw import Raw, connected, request
from tests.service.protocols.keyed import KEYS, WRONG, keyed, of, write
from tests.service.protocols.serving import Served

ONE = "/v1/sessions/shared/observe"
INFER = f"/v2/models/{RUNNING_SUM}/infer"
TENSOR = {"name": "target", "shape": [1, 1], "datatype": "FP32", "data": [1.0]}
SEQUENCE = {"inputs": [TENSOR], "parameters": {"sequence_id": "shared"}}


def bearer(name: str) -> str:
    return f"Authorization: Bearer {KEYS[name]}"


def other_header(name: str) -> str:
    return f"X-Api-Key: {KEYS[name]}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def served(one_model: Path, folder: Path) -> Iterator[Served]:
    """A server where alice and bob have sessions of the same ids, and `lone` is alice's alone."""
    with keyed(one_model, folder) as running:
        for name in ("alice", "bob"):
            for session in ("shared", f"{RUNNING_SUM}:shared"):
                running.client.post("/v1/sessions", json={"model": RUNNING_SUM, "id": session}, headers=of(name))
        running.client.post("/v1/sessions", json={"model": RUNNING_SUM, "id": "lone"}, headers=of("alice"))
        yield running


@pytest.fixture
def raw(served: Served) -> Iterator[Raw]:
    with connected(served.url) as connection:
        yield connection


def position(served: Served, name: str, session: str = "shared") -> int:
    return int(served.client.get(f"/v1/sessions/{session}", headers=of(name)).json()["position"])


@pytest.mark.parametrize("carry", [bearer, other_header])
@pytest.mark.parametrize(("path", "body"), [(ONE, {"values": [1.0]}), (INFER, SEQUENCE)])
def test_a_key_takes_the_short_way_in_either_header(
    noted: Noted, raw: Raw, carry: object, path: str, body: object
) -> None:
    assert callable(carry)
    for steps_done in (1, 2):
        answers = [raw.ask(request(path, body, carry(name))) for name in ("alice", "bob")]
        assert [answer.status for answer in answers] == [200, 200]
        told = [answer.json.get("parameters", answer.json)["position"] for answer in answers]
        assert told == [steps_done, steps_done]
    assert noted.statuses == [200] * 4


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 401),
        ([f"Authorization: Bearer {WRONG}"], 401),
        ([f"X-Api-Key: {WRONG}"], 401),
        (["Authorization: Bearer"], 401),
        (["Authorization: Basic YTpi"], 401),
        ([bearer("alice"), f"X-Api-Key: {WRONG}"], 401),
        ([bearer("alice"), other_header("bob")], 401),
        ([bearer("reader")], 403),
        ([bearer("operator")], 403),
    ],
)
@pytest.mark.parametrize(("path", "body"), [(ONE, {"values": [1.0]}), (INFER, SEQUENCE)])
def test_who_may_not_is_told_the_same_both_ways(
    served: Served, noted: Noted, raw: Raw, headers: list[str], status: int, path: str, body: object
) -> None:
    short = raw.ask(request(path, body, "X-Request-Id: same", *headers))
    long = raw.ask(request(path, body, "X-Request-Id: same", THROUGH, *headers))
    assert (short.status, short.lasting) == (status, long.lasting) and noted.all == 0
    assert (b"www-authenticate" in short.headers) == (status == 401)
    assert position(served, "alice") == 0


def test_the_answer_to_a_key_is_the_applications_to_the_bit(noted: Noted, raw: Raw) -> None:
    answers = {
        (name, way): raw.ask(request(ONE, {"values": [2.0]}, "X-Request-Id: same", bearer(name), *way))
        for name, way in (("alice", ()), ("bob", (THROUGH,)))
    }
    assert len({answer.lasting for answer in answers.values()}) == 1 and noted.statuses == [200]


def test_requests_of_several_callers_in_one_piece_are_each_their_own(served: Served, noted: Noted, raw: Raw) -> None:
    asked = [("alice", ()), ("bob", ()), ("bob", ()), ("alice", (THROUGH,)), ("bob", (THROUGH,)), ("alice", ())]
    raw.send(b"".join(request(ONE, {"values": [1.0]}, bearer(name), *way) for name, way in asked))
    assert [raw.answer().json["position"] for _ in asked] == [1, 1, 2, 2, 3, 3]
    raw.send(
        b"".join(
            request("/v1/sessions/lone/observe", {"values": [1.0]}, *headers)
            for headers in ([bearer("alice")], [bearer("bob")], [], [f"X-Api-Key: {WRONG}"], [bearer("alice")])
        )
    )
    assert [raw.answer().status for _ in range(5)] == [200, 404, 401, 401, 200]
    assert position(served, "alice", "lone") == 2


@pytest.mark.parametrize(
    "session", ["alice/lone", "alice%2Flone", "..%2Falice%2Flone", "bob/../alice/lone", "/alice/lone"]
)
def test_no_path_leads_to_another_owners_session(served: Served, raw: Raw, session: str) -> None:
    answer = raw.ask(request(f"/v1/sessions/{session}/observe", {"values": [1.0]}, bearer("bob")))
    assert answer.status == 404 and position(served, "alice", "lone") == 0


def test_a_key_that_is_taken_back_ends_on_open_connections(
    served: Served, noted: Noted, raw: Raw, folder: Path
) -> None:
    assert raw.ask(request(ONE, {"values": [1.0]}, bearer("alice"))).status == 200
    take_back(served, folder, "bob", "reader")
    assert raw.ask(request(ONE, {"values": [1.0]}, bearer("alice"))).status == 401
    assert raw.ask(request(ONE, {"values": [1.0]}, bearer("bob"))).json["position"] == 1
    assert noted.statuses == [200, 200]
    take_back(served, folder, "alice", "bob")
    assert raw.ask(request(ONE, {"values": [1.0]}, bearer("alice"))).json["position"] == 2


def take_back(served: Served, folder: Path, *left: str) -> None:
    """Leave only these callers their keys."""
    path = write(folder / "keys.toml", *left)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 10**9))
    served.context.access.look()


# WebSockets


def connected_to(raw: Raw, session: str, *headers: str) -> Socket:
    head = f"GET /v1/sessions/{session}/stream HTTP/1.1\r\nHost: localhost\r\n"
    head += "Connection: Upgrade\r\nUpgrade: websocket\r\n"
    head += "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    raw.send((head + "".join(f"{header}\r\n" for header in headers) + "\r\n").encode())
    assert raw.until(b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
    return Socket(raw)


def test_frames_reach_the_session_of_the_key_that_opened_the_connection(served: Served, noted: Noted, raw: Raw) -> None:
    with connected(served.url) as another:
        alice, bob = connected_to(raw, "shared", bearer("alice")), connected_to(another, "shared", other_header("bob"))
        for socket in (alice, bob):
            assert socket.ask(frame('{"type":"session"}'))[0] == TEXT
        for asked in (observing(1.0), steps((1.0,)), observing(1.0)):
            alice.ask(frame(asked))
        assert bob.tell(frame(observing(1.0)))["position"] == 1
        assert alice.tell(frame(observing(1.0)))["position"] == 4
    assert noted.frames == 5


@pytest.mark.parametrize(
    "asked", [frame(observing(1.0)), frame(steps((1.0,))), frame('{"type":"session"}'), frame('{"type":"fork"}')]
)
def test_a_key_that_is_taken_back_ends_an_open_websocket(served: Served, raw: Raw, folder: Path, asked: bytes) -> None:
    socket = connected_to(raw, "lone", bearer("alice"))
    assert socket.tell(frame('{"type":"session"}'))["session"]["position"] == 0
    assert socket.tell(frame(observing(1.0)))["position"] == 1
    take_back(served, folder, "bob")
    socket.send(asked)
    came = socket.rest()
    assert json.loads(came[0][1])["error"]["code"] == "invalid_api_key" and close_code(came) == 4401
    take_back(served, folder, "alice", "bob")
    assert position(served, "alice", "lone") == 1
    assert served.client.get("/v1/sessions", headers=of("alice")).json()["data"].__len__() == 3


def test_a_right_that_is_taken_back_ends_an_open_websocket_too(served: Served, raw: Raw, folder: Path) -> None:
    socket = connected_to(raw, "lone", bearer("alice"))
    assert socket.tell(frame(observing(1.0)))["position"] == 1
    path = folder / "keys.toml"
    path.write_text(path.read_text().replace('rights = ["predict", "sessions"]', 'rights = ["predict"]'))
    served.context.access.look()
    socket.send(frame(observing(1.0)))
    assert close_code(socket.rest()) == 4403


def test_a_key_after_the_body_is_none(served: Served, raw: Raw) -> None:
    body = b'{"values":[1]}'
    head = f"POST {ONE} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    chunks = b"%x\r\n%b\r\n0\r\n" % (len(body), body)
    for also in ("", "Trailer: Authorization\r\n"):
        asked = f"{head}{also}\r\n".encode() + chunks + f"{bearer('alice')}\r\n\r\n".encode()
        assert raw.ask(asked).status == 401
    assert position(served, "alice") == 0
    told = f"{head}{bearer('alice')}\r\n\r\n".encode() + chunks + f"{bearer('bob')}\r\n\r\n".encode()
    assert raw.ask(told).status == 200
    assert position(served, "alice") == 1 and position(served, "bob") == 0


def test_who_is_refused_a_websocket_leaves_no_error_in_the_log(
    served: Served, raw: Raw, caplog: pytest.LogCaptureFixture
) -> None:
    handshake = (
        "GET /v1/sessions/shared/stream HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
    with caplog.at_level("WARNING"):
        for also, status in (
            ("", 401),
            (f"Authorization: Bearer {WRONG}\r\n", 401),
            (f"{bearer('reader')}\r\n", 403),
            (f"{bearer('alice')}\r\nOrigin: https://evil.example\r\n", 403),
        ):
            with connected(served.url) as refused:
                refused.send(f"{handshake}{also}\r\n".encode())
                answer = refused.answer()
                assert answer.status == status and answer.json["error"]["code"] and refused.is_closed
        for _ in range(2):
            assert raw.ask(request(ONE, {"values": [1.0]}, bearer("alice"))).status == 200
    assert not caplog.records
