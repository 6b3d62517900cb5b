"""Clients that go away, never read, never finish or send too much: nobody else notices, and nothing is left."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

import service.server
from service.protocols.hot import connection as hot_connection
from service.sessions.ownership import SessionKey
from tests.service.protocols.hot.noting import Noted
from tests.service.protocols.hot.raw import HELD, all_quiet, connected, eventually, request
from tests.service.protocols.serving import Served, serve
from tests.service.running import Gate, gated

KEEP_ALIVE_S = 0.5


@pytest.fixture(scope="module")
def hurried(one_model: Path) -> Iterator[Served]:
    """A server that is not patient with who says nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service.server, "_KEEP_ALIVE_S", KEEP_ALIVE_S)
        with serve(one_model, max_request_bytes=150_000, request_timeout_s=2 * KEEP_ALIVE_S) as running:
            yield running


@pytest.fixture
def session(hurried: Served) -> Iterator[str]:
    yield hurried.open()
    all_quiet(hurried)


@pytest.fixture
def gate(hurried: Served, session: str) -> Iterator[Gate]:
    found = hurried.context.service.store.find(SessionKey(session))
    assert found is not None
    with gated(found.model) as gate:
        yield gate


def observing(session: str, *values: float, also: str = "X: 1") -> bytes:
    return request(f"/v1/sessions/{session}/observe", {"values": list(values)}, also)


def test_a_connection_that_rests_is_closed(hurried: Served, noted: Noted, session: str) -> None:
    with connected(hurried.url) as raw:
        for _ in range(3):
            raw.ask(observing(session, 1))
            time.sleep(KEEP_ALIVE_S / 3)
        asked = time.monotonic()
        raw.ask(observing(session, 1))
        assert raw.is_closed and time.monotonic() - asked >= 0.9 * KEEP_ALIVE_S
    assert noted.statuses == [200] * 4


def test_a_connection_that_rests_after_the_application_answered_is_closed(hurried: Served, session: str) -> None:
    with connected(hurried.url) as raw:
        raw.ask(observing(session, 1))
        raw.ask(request(f"/v1/sessions/{session}", b"", method="GET"))
        asked = time.monotonic()
        assert raw.is_closed and time.monotonic() - asked >= 0.9 * KEEP_ALIVE_S


def test_a_body_that_is_announced_and_never_sent_ends_the_connection(hurried: Served, session: str) -> None:
    with connected(hurried.url) as raw:
        raw.send(observing(session, 1)[:-1])
        sent = time.monotonic()
        assert raw.answer().status == 408
        assert raw.is_closed and time.monotonic() - sent < 6 * KEEP_ALIVE_S
    assert hurried.position(session) == 0


def test_a_body_may_come_slowly(hurried: Served, noted: Noted, session: str) -> None:
    data = observing(session, 1)
    with connected(hurried.url) as raw:
        raw.send(data[:-3])
        for place in range(len(data) - 3, len(data)):
            time.sleep(KEEP_ALIVE_S / 2)
            raw.send(data[place : place + 1])
        assert raw.answer().status == 200
    assert noted.statuses == [200]


def test_a_long_run_is_not_taken_for_a_rest(hurried: Served, gate: Gate, session: str) -> None:
    gate.close()
    with connected(hurried.url) as raw:
        raw.send(observing(session, *HELD))
        asyncio.run(gate.entered())
        assert raw.says_nothing(1.5 * KEEP_ALIVE_S)
        gate.open()
        assert raw.answer().status == 200
        assert raw.ask(observing(session, 1)).json["position"] == 3


@pytest.mark.parametrize("cut", [1, 10, 60, -12, -1])
@pytest.mark.parametrize("reset", [False, True])
def test_a_client_that_goes_away_while_it_sends_leaves_nothing(
    hurried: Served, session: str, cut: int, reset: bool
) -> None:
    with connected(hurried.url) as raw:
        raw.ask(observing(session, 1))
        raw.send(observing(session, 2)[:cut])
        if reset:
            raw.reset()
    all_quiet(hurried)
    assert hurried.position(session) == 1


@pytest.mark.parametrize("reset", [False, True])
def test_a_client_that_goes_away_before_its_answer_has_had_its_step_taken(
    hurried: Served, gate: Gate, noted: Noted, session: str, reset: bool
) -> None:
    gate.close()
    with connected(hurried.url) as raw:
        raw.send(observing(session, *HELD) * 3)
        asyncio.run(gate.entered())
        if reset:
            raw.reset()
    with connected(hurried.url) as other:
        other.send(observing(session, 1))
        found = hurried.context.service.store.find(SessionKey(session))
        eventually(lambda: found is not None and bool(found._waiting))
        gate.open()
        assert other.answer().json["position"] == 3
    all_quiet(hurried)
    # The position of the other's step tells that what it had asked for beyond was not begun.
    assert noted.statuses in ([200], [200, 200])


@pytest.mark.parametrize("reset", [False, True])
def test_a_client_that_goes_away_in_the_middle_of_an_answer_leaves_nothing(
    hurried: Served, noted: Noted, session: str, reset: bool
) -> None:
    with connected(hurried.url, receive_buffer=4096) as raw:
        raw.send(observing(session, *([0.5] * 2000)) * 20)
        assert raw.take(100)
        connection = noted.connection_of(raw)
        if reset:
            raw.reset()
    eventually(lambda: connection not in connection.connections)
    all_quiet(hurried)
    assert hurried.position(session) % 2000 == 0
    assert hurried.observe(session, values=[1])["quantiles"]["values"]


def test_connections_that_are_gone_are_not_kept(hurried: Served, gate: Gate, noted: Noted, session: str) -> None:
    gate.close()
    with connected(hurried.url) as raw:
        raw.send(observing(session, *HELD))
        asyncio.run(gate.entered())
        noted.connection_of(raw).timeout_keep_alive = 1000
        there = weakref.ref(noted.connection_of(raw))
        noted.connections.clear()
    time.sleep(0.05)
    gate.open()
    all_quiet(hurried)
    hurried.observe(session, values=[2])  # the engine has its last jobs in hand until the next ones come

    def is_gone() -> bool:
        gc.collect()
        return there() is None

    eventually(is_gone)


def test_a_client_that_never_reads_is_read_from_no_longer(hurried: Served, noted: Noted, session: str) -> None:
    many = observing(session, *([0.5] * 100)) * 200
    with connected(hurried.url, receive_buffer=4096) as raw:
        raw.socket.setblocking(False)
        sent = 0
        deadline = time.monotonic() + 5
        quiet_since = time.monotonic()
        while time.monotonic() < deadline and time.monotonic() - quiet_since < KEEP_ALIVE_S / 2:
            try:
                sent += raw.socket.send(many)
                quiet_since = time.monotonic()
            except BlockingIOError:
                time.sleep(0.002)
        connection = noted.connection_of(raw)
        # What the two sockets hold is the system's; a client that sends 100 times that gets no further.
        assert len(connection._kept) < 1_000_000
        assert connection.transport.get_write_buffer_size() < 1_000_000
        with connected(hurried.url) as other:
            assert other.ask(observing(hurried.open(), 1)).status == 200
        eventually(lambda: connection.transport.is_closing())
        # It is given up at last, and what it has not read with it.
        eventually(lambda: connection not in connection.connections)


def test_a_slow_reader_gets_every_answer_in_order(served: Served, noted: Noted) -> None:
    session = served.open()
    one = observing(session, *([0.5] * 50))
    with connected(served.url, receive_buffer=4096) as raw:
        raw.send(one * 300)
        time.sleep(0.05)
        positions = []
        for number in range(300):
            positions.append(raw.answer().json["position"])
            if number % 50 == 0:
                time.sleep(0.01)
        assert positions == [50 * number for number in range(1, 301)]
    assert noted.statuses == [200] * 300
    all_quiet(served)


def test_a_body_above_the_bound_is_refused_before_it_is_sent(hurried: Served, noted: Noted, session: str) -> None:
    head = observing(session, 1).partition(b"\r\n\r\n")[0]
    for length in (b"150001", b"9999999", b"99999999999"):
        with connected(hurried.url) as raw:
            raw.send(head.replace(b"Content-Length: 15", b"Content-Length: " + length) + b"\r\n\r\n")
            answer = raw.answer()
            assert answer.status == 413 and answer.headers[b"connection"] == b"close" and raw.is_closed
    assert not noted.statuses


def test_a_large_body_within_the_bound_is_taken_by_the_application(hurried: Served, noted: Noted, session: str) -> None:
    filled = b'{"values":[1]' + b" " * 70_000 + b"}"
    with connected(hurried.url) as raw:
        assert raw.ask(request(f"/v1/sessions/{session}/observe", filled)).json["position"] == 1
        assert not noted.statuses
        assert raw.ask(observing(session, 1)).json["position"] == 2
    assert noted.statuses == [200]


def test_a_small_bound_holds_below_the_application_too(one_model: Path, noted: Noted) -> None:
    with serve(one_model, max_request_bytes=1024) as small:
        session = small.open()
        with connected(small.url) as raw:
            for filling, status in ((1024, 200), (1025, 413)):
                body = b'{"values":[1]' + b" " * (filling - 14) + b"}"
                assert raw.ask(request(f"/v1/sessions/{session}/observe", body)).status == status
    assert noted.statuses == [200]


def test_heads_without_end_are_refused(hurried: Served, noted: Noted, session: str) -> None:
    with connected(hurried.url) as raw:
        raw.send(b"POST /v1/sessions/%b/observe HTTP/1.1\r\nHost: localhost\r\n" % session.encode())
        with pytest.raises((AssertionError, ConnectionError)):
            for number in range(10_000):
                raw.send(b"X-%d: %b\r\n" % (number, b"v" * 100))
                if number % 100 == 0 and not raw.says_nothing(0.001):
                    raise ConnectionError
        assert raw.rest().startswith(b"HTTP/1.1 400 ")
    assert not noted.statuses


@pytest.mark.parametrize("line", [b"X-%d: " + b"v" * 100 + b"\r\n", b"%d" + b"v" * 100])
def test_trailers_without_end_are_refused(hurried: Served, session: str, line: bytes) -> None:
    with connected(hurried.url) as raw:
        raw.send(b"POST /v1/sessions/%b/observe HTTP/1.1\r\nHost: localhost\r\n" % session.encode())
        raw.send(b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: ")
        with pytest.raises((AssertionError, ConnectionError)):
            for number in range(10_000):
                raw.send(line % number)
                if number % 100 == 0 and not raw.says_nothing(0.001):
                    raise ConnectionError
        assert raw.rest().startswith(b"HTTP/1.1 400 ")


def test_a_long_chunk_is_not_taken_for_lines_without_end(hurried: Served, session: str) -> None:
    body = b'{"values":[1]' + b" " * 140_000 + b"}"
    with connected(hurried.url) as raw:
        for piece in (
            b"POST /v1/sessions/%b/observe HTTP/1.1\r\nHost: localhost\r\n" % session.encode(),
            b"Transfer-Encoding: chunked\r\n\r\n",
            b"%x\r\n" % len(body),
            body,
            b"\r\n0\r\n",
            b"\r\n",
        ):
            raw.send(piece)
            time.sleep(0.02)
        assert raw.answer().json["position"] == 1


def test_many_requests_ahead_are_held_back_and_not_lost(
    hurried: Served, gate: Gate, noted: Noted, session: str
) -> None:
    gate.close()
    one = observing(session, 1, also="X: " + "x" * 2000)
    with connected(hurried.url) as raw:
        raw.send(observing(session, *HELD))
        asyncio.run(gate.entered())
        raw.socket.setblocking(False)
        rest = one * 500
        sent = 0
        connection = noted.connection_of(raw)
        while connection.transport.is_reading():
            try:
                sent += raw.socket.send(rest[sent:])
            except BlockingIOError:
                time.sleep(0.001)
        assert len(connection._kept) < hot_connection._MOST_KEPT + hot_connection._LARGEST_BODY + 2**19
        gate.open()
        raw.socket.settimeout(10)
        whole = sent // len(one)
        if sent % len(one):
            raw.send(rest[sent : (whole + 1) * len(one)])
            whole += 1
        assert [raw.answer().json["position"] for _ in range(whole + 1)] == list(range(2, whole + 3))
