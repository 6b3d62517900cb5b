"""Clients that are slower than they may be: with a head, a body, a frame, or reading. Each is cut and counted."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import known_models
from tests.service.protocols.hot.frames import CONTINUATION, TEXT, close_code, frame, observing, streaming
from tests.service.protocols.hot.noting import Noted
from tests.service.protocols.hot.raw import Raw, all_quiet, connected, eventually, request
from tests.service.protocols.serving import Served, serve

PATIENCE_S = 0.6


@pytest.fixture(scope="module")
def strict(protocol_models: Path) -> Iterator[Served]:
    """A server that waits for nobody for long; between two requests a client may rest."""
    with serve(protocol_models, request_timeout_s=PATIENCE_S, max_tokens=200_000) as running:
        yield running


@pytest.fixture
def session(strict: Served) -> Iterator[str]:
    yield strict.open()
    all_quiet(strict)


def cut(served: Served, what: str) -> float:
    """How many clients were given up because of that."""
    return served.context.metrics.registry.get_sample_value("unroll_slow_clients_total", {"what": what}) or 0.0


@pytest.fixture
def counts(strict: Served) -> Iterator[Callable[[str], None]]:
    """Called with what one client is going to be too slow with."""
    before: dict[str, float] = {}

    def expect(what: str) -> None:
        before[what] = cut(strict, what)

    yield expect
    for what, count in before.items():
        eventually(lambda what=what, count=count: cut(strict, what) == count + 1)  # type: ignore[misc]


def is_refused_in_time(raw: Raw, since: float, what: str) -> None:
    answer = raw.answer()
    assert answer.status == 408 and answer.headers[b"connection"] == b"close"
    error = answer.json["error"]
    assert error["code"] == "request_timeout" and f"the request's {what}" in error["message"]
    assert raw.is_closed and 0.9 * PATIENCE_S <= time.monotonic() - since < 5 * PATIENCE_S


Counts = Callable[[str], None]


def test_a_head_that_is_trickled_is_refused(strict: Served, counts: Counts, session: str) -> None:
    counts("head")
    with connected(strict.url) as raw:
        since = time.monotonic()
        for byte in b"GET /v1":
            raw.send(bytes((byte,)))
            time.sleep(PATIENCE_S / 10)
        is_refused_in_time(raw, since, "head")


@pytest.mark.parametrize("length", [15, 60_000, 150_000])
def test_a_body_that_is_announced_and_not_sent_is_refused(
    strict: Served, counts: Counts, session: str, length: int
) -> None:
    counts("body")
    body = b'{"values":[1]' + b" " * (length - 14) + b"}"
    with connected(strict.url) as raw:
        since = time.monotonic()
        raw.send(request(f"/v1/sessions/{session}/observe", body)[:-1])
        is_refused_in_time(raw, since, "body")
    assert strict.position(session) == 0


def test_a_body_in_chunks_without_end_is_refused(strict: Served, counts: Counts) -> None:
    counts("body")
    with connected(strict.url) as raw:
        since = time.monotonic()
        raw.send(b"POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(5):
            raw.send(b"1\r\n \r\n")
            time.sleep(PATIENCE_S / 10)
        is_refused_in_time(raw, since, "body")


def test_who_sends_on_after_the_refusal_can_still_read_it(strict: Served, counts: Counts) -> None:
    counts("body")
    with connected(strict.url) as raw:
        raw.send(b"POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n")
        time.sleep(1.6 * PATIENCE_S)
        raw.send(b" " * 50_000)
        time.sleep(0.05)
        raw.send(b" " * 50_000)
        assert raw.answer().status == 408


def test_who_never_says_anything_is_closed_without_a_word(strict: Served) -> None:
    with connected(strict.url) as raw:
        since = time.monotonic()
        assert raw.is_closed and 0.9 * PATIENCE_S <= time.monotonic() - since < 5 * PATIENCE_S


def test_who_rests_between_two_requests_is_not_slow(strict: Served, session: str) -> None:
    with connected(strict.url) as raw:
        assert raw.ask(request(f"/v1/sessions/{session}/observe", {"values": [1]})).json["position"] == 1
        assert raw.says_nothing(2 * PATIENCE_S)
        assert raw.ask(request(f"/v1/sessions/{session}", b"", method="GET")).status == 200
        assert raw.says_nothing(2 * PATIENCE_S)
        assert raw.ask(request(f"/v1/sessions/{session}/observe", {"values": [1]})).json["position"] == 2


def test_requests_that_trickle_but_each_in_time_are_answered(strict: Served, session: str) -> None:
    data = request(f"/v1/sessions/{session}/observe", {"values": [1]})
    with connected(strict.url) as raw:
        for position in range(1, 5):
            for start in range(0, len(data), 30):
                raw.send(data[start : start + 30])
                time.sleep(PATIENCE_S / 20)
            assert raw.answer().json["position"] == position


def test_answers_that_are_never_read_end_the_connection(strict: Served, counts: Counts, session: str) -> None:
    counts("unread")
    many = request(f"/v1/sessions/{session}/observe", {"values": [0.5] * 100}) * 100
    with connected(strict.url, receive_buffer=4096) as raw:
        raw.socket.setblocking(False)
        with pytest.raises((ConnectionError, BrokenPipeError)):
            for _ in range(2000):
                try:
                    raw.socket.send(many)
                except BlockingIOError:
                    time.sleep(0.01)


def generating(session: str, tokens: int) -> bytes:
    return request(
        "/v1/completions",
        {
            "session_id": session,
            "model": known_models.NEXT_TOKEN,
            "prompt": "a",
            "max_tokens": tokens,
            "stream": True,
            "seed": 1,
        },
    )


def test_events_that_are_never_read_end_the_generation(strict: Served, counts: Counts, noted: Noted) -> None:
    counts("unread")
    session = strict.open(known_models.NEXT_TOKEN)
    with connected(strict.url, receive_buffer=4096) as raw:
        # What the two systems hold of what was sent is to be little beside what is generated.
        accepted = noted.connection_of(raw).transport.get_extra_info("socket")
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        raw.send(generating(session, 150_000))
        raw.until(b"\r\n\r\n")
        time.sleep(0.2)
        eventually(lambda: strict.context.traffic.active == 0)
    all_quiet(strict)
    assert 0 < strict.position(session) < 150_000


def test_a_reader_that_is_slow_but_reads_is_not_cut(strict: Served, session: str) -> None:
    before = cut(strict, "unread")
    one = request(f"/v1/sessions/{session}/observe", {"values": [0.5] * 100})
    with connected(strict.url, receive_buffer=4096) as raw:
        raw.socket.settimeout(30)
        raw.send(one * 400)
        since = time.monotonic()
        positions = []
        for number in range(400):
            positions.append(raw.answer().json["position"])
            if number % 20 == 0:
                time.sleep(PATIENCE_S / 6)
        assert positions[-1] == 40_000 and time.monotonic() - since > 3 * PATIENCE_S
    assert cut(strict, "unread") == before


@pytest.mark.parametrize("part", [1, 5, -1])
def test_a_frame_that_does_not_come_whole_ends_the_connection(
    strict: Served, counts: Counts, session: str, part: int
) -> None:
    counts("frame")
    with streaming(strict, session) as stream:
        since = time.monotonic()
        stream.send(frame(observing(1))[:part])
        assert close_code(stream.rest()) == 1008
        assert 0.9 * PATIENCE_S <= time.monotonic() - since < 5 * PATIENCE_S
    assert strict.position(session) == 0


def test_a_long_frame_that_is_trickled_ends_the_connection(strict: Served, counts: Counts, session: str) -> None:
    counts("frame")
    with streaming(strict, session) as stream:
        stream.send(frame(observing(1) + " " * 100_000)[:70_000])
        for _ in range(6):
            time.sleep(PATIENCE_S / 10)
            stream.send(b" ")
        assert close_code(stream.rest()) == 1008


def test_a_message_in_parts_without_end_ends_the_connection(strict: Served, counts: Counts, session: str) -> None:
    counts("frame")
    with streaming(strict, session) as stream:
        stream.send(frame("{", TEXT, final=False))
        for _ in range(6):
            time.sleep(PATIENCE_S / 10)
            stream.send(frame(" ", CONTINUATION, final=False))
        assert close_code(stream.rest()) == 1008


def test_who_rests_between_two_messages_is_not_slow(strict: Served, session: str) -> None:
    with streaming(strict, session) as stream:
        for position in range(1, 4):
            assert stream.raw.says_nothing(2 * PATIENCE_S)
            assert stream.tell(frame(observing(1)))["position"] == position


def test_many_frames_one_after_the_other_are_not_taken_for_a_slow_one(strict: Served, session: str) -> None:
    one = frame(observing(1))
    with streaming(strict, session) as stream:
        stream.send(one[:-1])
        for position in range(1, 20):
            time.sleep(PATIENCE_S / 6)
            assert stream.tell(one[-1:] + one[:-1])["position"] == position


def test_frames_that_are_never_read_end_the_connection(strict: Served, counts: Counts, session: str) -> None:
    counts("unread")
    many = frame(observing(*([0.5] * 100))) * 100
    with streaming(strict, session, receive_buffer=4096) as stream:
        stream.raw.socket.setblocking(False)
        with pytest.raises((ConnectionError, BrokenPipeError)):
            for _ in range(2000):
                try:
                    stream.raw.socket.send(many)
                except BlockingIOError:
                    time.sleep(0.01)


def test_a_thousand_connections_that_say_nothing_keep_nobody_waiting(strict: Served, session: str) -> None:
    before = strict.context.connections.open
    silent = [Raw(strict.url) for _ in range(1000)]
    try:
        with connected(strict.url) as raw:
            took: list[float] = []
            for position in range(1, 51):
                since = time.monotonic()
                assert raw.ask(request(f"/v1/sessions/{session}/observe", {"values": [1]})).json["position"] == position
                took.append(time.monotonic() - since)
        assert sorted(took)[25] < PATIENCE_S / 6
        eventually(lambda: strict.context.connections.open <= before)
    finally:
        for raw in silent:
            raw.socket.close()
