"""A session's WebSocket, in JSON and binary frames: below the application and through it, frame by frame."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.known_graphs import FAILING_VALUE
from tests.known_models import NEXT_TOKEN
from tests.service.protocols.hot.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Came,
    frame,
    in_parts,
    steps,
    streaming,
)
from tests.service.protocols.hot.noting import Noted
from tests.service.protocols.hot.raw import all_quiet, request
from tests.service.protocols.serving import CALENDAR_SUM, COVARIATE_SUM, Served, serve
from tests.service.running import Gate, gated

_numbers = count()
Message = bytes | str
HELD = (1.0, 1.0)
"""Steps of a run that a gate may hold: a single one may be taken on the event loop."""


@pytest.fixture(autouse=True)
def nothing_is_left(served: Served) -> Iterator[None]:
    yield
    all_quiet(served)


@pytest.fixture
def session(served: Served) -> str:
    return served.open(id=f"frames{next(_numbers):05d}")


@pytest.fixture
def gate(served: Served, session: str) -> Iterator[Gate]:
    found = served.context.service.store.find(session)
    assert found is not None
    with gated(found.model) as gate:
        yield gate


def observing(*values: float | None, **more: Any) -> str:
    return json.dumps({"type": "observe", "values": list(values)} | more)


def answers_both_ways(
    served: Served, noted: Noted, messages: Sequence[Message], short: bool = True, **opening: Any
) -> list[Came]:
    """What each message is answered by, after checking that the application alone gives the same answers."""
    spoken: list[list[Came]] = []
    for only_application in (False, True):
        name = served.open(id=f"frames{next(_numbers):05d}", seed=1, **opening)
        before, came = noted.all, []
        with streaming(served, name) as socket:
            for message in messages:
                came.append(socket.ask(in_parts(message, 1) if only_application else frame(message)))
                if came[-1][0] == TEXT and b'"error"' in came[-1][1]:
                    break  # which may have ended the connection
        assert (noted.all > before) is (short and not only_application)
        spoken.append([(opcode, _lasting(payload, name)) for opcode, payload in came])
    assert spoken[0] == spoken[1]
    return spoken[0]


def _lasting(payload: bytes, session: str) -> bytes:
    """An answer without what no two sessions have in common."""
    if payload.startswith(b'{"type":"session"'):
        payload = re.sub(rb'"(created|expires)":[^,]*,', b"", payload)
    return payload.replace(session.encode(), b"SESSION")


@pytest.mark.parametrize(
    "messages",
    [
        [observing(1), observing(2.5, None), observing(*range(300))],
        [observing(1, id=7), observing(2, id="mine"), observing(3, id='"\u00e9\n'), observing(4, id=None)],
        [observing(1, id=2**63), observing(1, id=-(2**63)), observing(1, id=2**80)],
        [observing(1, position=0), observing(2, position=1), observing(3, position=None)],
        [observing(1, position=0), observing(1, position=0)],
        [' {"values":[1] , "type":"observe"}\r\n'],
        [steps((1,)), steps((2,), (math.nan,), number=2**32 - 1), steps(*([(0.5,)] * 300))],
        [steps((1,), position=0), steps((2,), position=1), steps((2,), position=1)],
        [observing(1), steps((2,)), observing(3)],
        [observing(1), '{"type":"session"}', observing(2), '{"type":"forecast","horizon":2}', steps((3,))],
    ],
)
def test_steps_are_answered_with_the_same_frames(served: Served, noted: Noted, messages: list[Message]) -> None:
    came = answers_both_ways(served, noted, messages)
    assert len(came) == len(messages)
    kinds = [BINARY if isinstance(message, bytes) else TEXT for message in messages]
    assert [opcode for opcode, _ in came] == kinds


@pytest.mark.parametrize(
    "message",
    [
        "",
        "{",
        "[1]",
        '{"type":"observe"}',
        '{"values":[1]}',
        '{"type":"nothing"}',
        observing(),
        observing(1e37),
        observing(1, position=5, id=3),
        observing(1, position=-1),
        observing(1, id=1.5),
        observing(1, idempotency_key=""),
        observing(1, future_covariates={"temperature": [1]}),
        observing(1, timestamps=["no"], id="t"),
        observing(*[0.5] * 2001, id=4),
        '{"type":"observe","values":[NaN]}',
        '{"type":"observe","type":"session","values":[1]}',
        '{"type":"observe","values":["\\ud800"]}',
        b"",
        b"UN",
        steps((1,))[:-1],
        steps((1,)) + b"\0",
        b"XX" + steps((1,))[2:],
        steps((1, 2)),
        steps((math.inf,)),
        steps((1.1e36,)),
        steps((1,), position=7, number=9),
        steps((1,), position=-2),
        steps(*[(0.5,)] * 2001),
    ],
)
def test_what_is_wrong_is_told_by_the_application_alone(served: Served, noted: Noted, message: Message) -> None:
    [(opcode, payload)] = answers_both_ways(served, noted, [message], short=False)
    assert opcode == TEXT and json.loads(payload)["type"] == "error"


@pytest.mark.parametrize(
    "message",
    [
        observing(1, idempotency_key="mine"),
        observing(1, timestamps=["2026-01-01T00:00:00Z"]),
        observing(1, future_covariates={}),
    ],
)
def test_what_is_not_plain_is_the_applications(served: Served, noted: Noted, message: Message) -> None:
    first, _ = answers_both_ways(served, noted, [message, '{"type":"session"}'], short=False)
    assert json.loads(first[1])["position"] == 1


def test_covariates_and_calendars_are_taken_in(served: Served, noted: Noted) -> None:
    with_covariate = [observing(1, 2, future_covariates={"temperature": [3, None]}), steps((1, 2), (math.nan, 3))]
    answers_both_ways(served, noted, with_covariate, model=COVARIATE_SUM)
    answers_both_ways(served, noted, [steps((1,))], short=False, model=COVARIATE_SUM)
    dated = [observing(1), steps((2,), (3,))]
    answers_both_ways(served, noted, dated, model=CALENDAR_SUM, first_timestamp="2026-03-01T05:00:00Z")
    answers_both_ways(served, noted, [observing(1)], short=False, model=CALENDAR_SUM)
    answers_both_ways(served, noted, [steps((1,))], short=False, model=NEXT_TOKEN)


@pytest.mark.parametrize("message", [observing(FAILING_VALUE, id="f"), steps((FAILING_VALUE,), number=8)])
def test_a_step_that_fails_is_told_the_same_both_ways(served: Served, noted: Noted, message: Message) -> None:
    said = []
    for only_application in (False, True):
        name = served.open(id=f"frames{next(_numbers):05d}")
        with streaming(served, name) as socket:
            socket.ask(frame(observing(1)))
            socket.send(in_parts(message, 1) if only_application else frame(message))
            said.append(socket.rest())
        assert served.position(name) == 1
    assert said[0] == said[1] and noted.errors == 1
    assert [opcode for opcode, _ in said[0]] == [TEXT, CLOSE]


@st.composite
def one_message(draw: st.DrawFn) -> bytes:
    """Frames that are one message or one control frame, plain or not, good or about to be refused."""
    kind = draw(st.sampled_from(["json"] * 4 + ["binary"] * 3 + ["session", "ping", "pong", "late", "parts"]))
    values = draw(st.lists(st.one_of(st.none(), st.floats(-1, 1), st.integers(-5, 5)), min_size=1, max_size=3))
    number = draw(st.integers(0, 9))
    if kind == "session":
        return frame('{"type":"session","id":"s"}')
    if kind == "ping":
        return frame(b"ping", PING)
    if kind == "pong":
        return frame(b"pong", PONG)
    if kind == "late":
        return frame(observing(1, position=1000 + number, id=number))
    if kind == "binary":
        return frame(steps(*[(math.nan if value is None else value,) for value in values], number=number))
    text = observing(*values, id=number)
    return in_parts(text, draw(st.integers(1, len(text) - 1))) if kind == "parts" else frame(text)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=st.lists(one_message(), min_size=1, max_size=8), data=st.data())
def test_any_mixture_cut_anyhow_is_answered_alike(
    served: Served, noted: Noted, messages: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(messages) + frame("{")  # which ends the connection
    cuts = [0, *sorted(data.draw(st.sets(st.integers(1, len(stream) - 1), max_size=8))), len(stream)]
    mine = _said_to_pieces(served, noted, [stream[start:end] for start, end in zip(cuts, cuts[1:], strict=False)])
    with noted.through_the_application():
        theirs = _said_to_pieces(served, noted, [stream])
    assert mine == theirs


def _said_to_pieces(served: Served, noted: Noted, pieces: list[bytes]) -> tuple[list[Came], int]:
    """The frames that come for these pieces, but for what answers pings, which may come before its turn."""
    name = served.open(id=f"frames{next(_numbers):05d}", seed=1)
    with streaming(served, name) as socket:
        noted.receive_at(socket.raw, pieces)
        came = socket.rest()
    pongs = sum(opcode == PONG for opcode, _ in came)
    return [(opcode, _lasting(payload, name)) for opcode, payload in came if opcode != PONG], pongs


def test_answers_come_in_the_order_of_the_messages_whichever_way_they_go(
    served: Served, noted: Noted, gate: Gate, session: str
) -> None:
    gate.close()
    with streaming(served, session) as socket:
        later = [frame('{"type":"session","id":1}'), in_parts(observing(2, id=2), 9), frame(observing(3, id=3))]
        socket.send(frame(observing(*HELD, id=0)), *later, frame('{"type":"forecast","horizon":0,"id":4}'))
        asyncio.run(gate.entered())
        assert socket.raw.says_nothing(0.05)
        gate.open()
        told = [json.loads(socket.next()[1]) for _ in range(5)]
    assert [one["id"] for one in told] == [0, 1, 2, 3, 4]
    assert [told[0]["position"], told[1]["session"]["position"], told[2]["position"]] == [2, 2, 3]
    assert noted.frames >= 1


def test_pings_are_answered_while_a_step_is_taken(served: Served, noted: Noted, gate: Gate, session: str) -> None:
    gate.close()
    with streaming(served, session) as socket:
        socket.send(frame(observing(*HELD)))
        asyncio.run(gate.entered())
        assert socket.ask(frame(b"there?", PING)) == (PONG, b"there?")
        gate.open()
        assert socket.next()[0] == TEXT
        assert socket.ask(frame(b"still?", PING)) == (PONG, b"still?")
        assert socket.tell(frame(observing(2)))["position"] == 3
    assert noted.frames == 2


def test_messages_may_come_in_parts_with_control_frames_between(served: Served, noted: Noted, session: str) -> None:
    text = observing(1)
    with streaming(served, session) as socket:
        socket.send(frame(text[:5].encode(), TEXT, final=False), frame(b"p", PING), frame(b"q", PONG))
        assert socket.next() == (PONG, b"p")
        socket.send(frame(text[5:9].encode(), CONTINUATION, final=False), frame(text[9:].encode(), CONTINUATION))
        assert json.loads(socket.next()[1])["position"] == 1
        assert noted.frames == 0
        assert socket.tell(frame(text))["position"] == 2
        assert socket.tell(in_parts(text, 0, 0, 3, 3, len(text)))["position"] == 3
        assert noted.frames == 1


def test_frames_may_come_byte_by_byte(served: Served, noted: Noted, session: str) -> None:
    data = frame(observing(1)) + frame(steps((2,))) + frame(observing(*[3] * 60))
    with streaming(served, session) as socket:
        noted.receive_at(socket.raw, [data[place : place + 1] for place in range(len(data))])
        assert [socket.next()[0] for _ in range(3)] == [TEXT, BINARY, TEXT]
    assert served.position(session) == 62 and noted.frames == 3


@pytest.mark.parametrize("size", [2, 8])
@pytest.mark.parametrize("message", [observing(1), steps((1,))])
def test_a_length_may_be_written_longer_than_it_needs(
    served: Served, noted: Noted, session: str, message: Message, size: int
) -> None:
    with streaming(served, session) as socket:
        assert socket.ask(frame(message, size=size))[0] == (TEXT if isinstance(message, str) else BINARY)
        assert socket.tell(frame(observing(2)))["position"] == 2


def test_the_longest_frames_below_and_those_beyond(served: Served, noted: Noted, session: str) -> None:
    with streaming(served, session) as socket:
        for filling in (65_000, 65_528, 65_529, 65_536, 66_000, 190_000):
            text = observing(1)
            assert socket.tell(frame(text + " " * (filling - len(text))))["type"] == "observe"
        assert noted.frames == 2
        text = observing(*[0.5] * 1900)
        assert socket.tell(frame(text))["position"] == 1906


def close_code(came: list[Came]) -> int:
    opcode, payload = came[-1]
    assert opcode == CLOSE
    return int.from_bytes(payload[:2], "big")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(observing(1), masked=False), 1002),
        (b"\xc1" + frame(observing(1))[1:], 1002),
        (b"\x91" + frame(observing(1))[1:], 1002),
        (b"\x83" + frame(observing(1))[1:], 1002),
        (frame(observing(1), CONTINUATION), 1002),
        (frame(b"x" * 126, PING), 1002),
        (frame(b"x", PING, final=False), 1002),
        (frame(observing(1).encode(), TEXT, final=False) + frame(observing(1)), 1002),
        (frame(b"\xff\xfe", TEXT), 1007),
        (frame(b'{"type":"observe","values":[1],"id":"\xff"}', TEXT), 1007),
        (b"\x81\xff\0\0\0\0\0\x03\x0d\x41", 1009),
        (b"\x82\xff\0\0\0\0\0\x03\x0d\x41" + b"mask" + b"\0" * 50, 1009),
        (b"\x81\xff\x80\0\0\0\0\0\0\0", 1009),
        (b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff", 1009),
        (frame(b"\x03\xe8bye", CLOSE), 1000),
        (frame(b"\x03", CLOSE), 1002),
    ],
)
def test_what_breaks_the_protocol_ends_the_connection_alike(
    served: Served, noted: Noted, data: bytes, code: int
) -> None:
    said = []
    for only_application in (False, True):
        name = served.open()
        with streaming(served, name) as socket:
            if not only_application:
                assert socket.tell(frame(observing(1)))["position"] == 1
            socket.send(data)
            said.append(socket.rest())
    assert said[0] == said[1] and close_code(said[0]) == code
    assert noted.all == 1


def test_a_small_bound_holds_below_the_application_too(protocol_models: Path, noted: Noted) -> None:
    with serve(protocol_models, max_request_bytes=1024) as small:
        with streaming(small, small.open()) as socket:
            text = observing(1)
            assert socket.tell(frame(text + " " * (1000 - len(text))))["position"] == 1
            assert noted.frames == 1
            assert socket.tell(frame(text + " " * (1024 - len(text))))["position"] == 2
            socket.send(frame(text + " " * (1025 - len(text))))
            assert close_code(socket.rest()) == 1009
        assert noted.frames == 1


def test_a_close_after_messages_lets_them_be_answered(served: Served, gate: Gate, session: str) -> None:
    gate.close()
    with streaming(served, session) as socket:
        socket.send(frame(observing(*HELD)), frame(b"\x03\xe8", CLOSE), frame(observing(2)))
        asyncio.run(gate.entered())
        gate.open()
        came = socket.rest()
    assert [opcode for opcode, _ in came] == [TEXT, CLOSE]
    all_quiet(served)
    assert served.position(session) == 2


@pytest.mark.parametrize("reset", [False, True])
def test_a_client_that_goes_away_before_its_answer_leaves_nothing(
    served: Served, noted: Noted, gate: Gate, session: str, reset: bool
) -> None:
    gate.close()
    with streaming(served, session) as socket:
        socket.send(frame(observing(*HELD)), frame(steps((2,))))
        asyncio.run(gate.entered())
        if reset:
            socket.raw.reset()
    gate.open()
    all_quiet(served)
    assert served.observe(session, values=[3])["start"] == 2


@pytest.mark.parametrize("cut", [1, 3, 7, -1])
def test_a_client_that_goes_away_in_the_middle_of_a_frame_leaves_nothing(
    served: Served, session: str, cut: int
) -> None:
    with streaming(served, session) as socket:
        socket.send(frame(observing(1))[:cut])
    all_quiet(served)
    assert served.position(session) == 0


def test_a_slow_reader_gets_every_answer_in_order(served: Served, noted: Noted, session: str) -> None:
    with streaming(served, session, receive_buffer=4096) as socket:
        for number in range(400):
            socket.send(frame(steps(*[(0.5,)] * 50, number=number)))
        assert [int.from_bytes(socket.next()[1][12:16], "little") for _ in range(400)] == list(range(400))
    assert served.position(session) == 20_000


def test_a_client_that_never_reads_is_read_from_no_longer(served: Served, noted: Noted, session: str) -> None:
    many = frame(steps(*[(0.5,)] * 200)) * 50
    with streaming(served, session, receive_buffer=4096) as socket:
        connection = noted.socket_of(socket.raw)
        socket.raw.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            for _ in range(2000):
                socket.send(many)
        assert len(connection._kept) < 1_000_000 and connection.queue.qsize() < 1000
        assert connection.transport.get_write_buffer_size() < 1_000_000
        assert served.observe(served.open(), values=[1])["position"] == 1


def test_two_connections_and_a_request_on_one_session_take_turns(served: Served, noted: Noted, session: str) -> None:
    with streaming(served, session) as one, streaming(served, session) as other:
        for _ in range(50):
            one.send(frame(observing(1)))
            other.send(frame(steps((1,))))
        served.observe(session, values=[1] * 5)
        mine = [json.loads(one.next()[1])["position"] for _ in range(50)]
        theirs = [int.from_bytes(other.next()[1][16:24], "little") for _ in range(50)]
    assert mine == sorted(mine) and theirs == sorted(theirs)
    assert len({*mine, *theirs}) == 100 and served.position(session) == 105


def test_both_ways_are_counted_alike(protocol_models: Path, noted: Noted) -> None:
    with serve(protocol_models) as fresh:
        counted = []
        for only_application in (False, True):
            before = _counts(fresh)
            with streaming(fresh, fresh.open()) as socket:
                for message in (observing(1), steps((2,)), observing(1, position=9), observing(FAILING_VALUE)):
                    socket.ask(in_parts(message, 1) if only_application else frame(message))
            counted.append({name: count - before.get(name, 0) for name, count in _counts(fresh).items()})
            assert noted.all == 3
    assert counted[0] == counted[1]
    assert sum(counted[0].values()) == 6  # with those that `streaming` asks first


def _counts(served: Served) -> dict[str, int]:
    """Frames answered, by labels."""
    lines = served.client.get("/metrics").text.splitlines()
    found = (line.rsplit(" ", 1) for line in lines if line.startswith("unroll_requests_total{"))
    return {name: int(float(value)) for name, value in found if "stream" in name}


def test_a_session_that_is_closed_meanwhile_is_told_of(served: Served, noted: Noted, session: str) -> None:
    with streaming(served, session) as socket:
        socket.tell(frame(observing(1)))
        served.client.delete(f"/v1/sessions/{session}")
        assert socket.tell(frame(observing(1)))["error"]["code"] == "session_not_found"
        assert close_code(socket.rest()) == 4404


def test_an_http_request_after_frames_is_no_request(served: Served, session: str) -> None:
    with streaming(served, session) as socket:
        socket.tell(frame(observing(1)))
        socket.raw.send(request("/health/live", b"", "X-Filling: " + "x" * 200, method="GET"))
        assert close_code(socket.rest()) == 1002
