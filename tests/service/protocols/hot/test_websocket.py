"""A session's WebSocket below the application: order, control frames, broken frames, bounds and rude clients."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.sessions.ownership import SessionKey
from tests.known_graphs import FAILING_VALUE
from tests.service.protocols.hot.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    close_code,
    frame,
    in_parts,
    observing,
    steps,
    streaming,
)
from tests.service.protocols.hot.noting import Noted
from tests.service.protocols.hot.raw import HELD, all_quiet, request
from tests.service.protocols.serving import Served, serve
from tests.service.running import Gate, gated

Message = bytes | str


@pytest.fixture(autouse=True)
def nothing_is_left(served: Served) -> Iterator[None]:
    yield
    all_quiet(served)


@pytest.fixture
def session(served: Served) -> str:
    return served.open()


@pytest.fixture
def gate(served: Served, session: str) -> Iterator[Gate]:
    found = served.context.service.store.find(SessionKey(session))
    assert found is not None
    with gated(found.model) as gate:
        yield gate


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


def test_a_small_bound_holds_below_the_application_too(one_model: Path, noted: Noted) -> None:
    with serve(one_model, max_request_bytes=1024) as small:
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


def test_both_ways_are_counted_alike(one_model: Path, noted: Noted) -> None:
    with serve(one_model) as fresh:
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
