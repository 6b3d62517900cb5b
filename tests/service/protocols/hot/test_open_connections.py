"""As many connections as may be open are served; one more is told so, whatever it wants to say."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.service.protocols.hot.frames import frame, observing, streaming
from tests.service.protocols.hot.raw import Raw, connected, eventually, request
from tests.service.protocols.serving import Served, serve

MOST = 6
GET = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def small(one_model: Path) -> Iterator[Served]:
    with serve(one_model, max_connections=MOST) as running:
        yield running


@pytest.fixture(autouse=True)
def nobody_is_left(small: Served) -> Iterator[None]:
    small.client.close()
    eventually(lambda: small.context.connections.open == 0)
    yield
    eventually(lambda: small.context.connections.open == 0)


def is_refused(raw: Raw) -> bool:
    answer = raw.answer()
    assert answer.json["error"]["code"] == "too_many_connections"
    assert answer.headers[b"connection"] == b"close" and int(answer.headers[b"retry-after"]) >= 1
    return answer.status == 503 and raw.is_closed


def connections(small: Served, count: int, stack: ExitStack) -> list[Raw]:
    return [stack.enter_context(connected(small.url)) for _ in range(count)]


def test_one_more_than_may_be_open_is_refused_at_once(small: Served) -> None:
    with ExitStack() as stack:
        served = connections(small, MOST, stack)
        assert all(raw.ask(GET).status == 200 for raw in served)
        assert is_refused(*connections(small, 1, stack))
        assert all(raw.ask(GET).status == 200 for raw in served)


def test_who_has_sent_its_request_already_can_read_the_refusal(small: Served) -> None:
    with ExitStack() as stack:
        for raw in connections(small, MOST, stack):
            raw.ask(GET)
        for body in (b"x", b"x" * 100_000):
            (late,) = connections(small, 1, stack)
            late.send(request("/v1/sessions", body))
            time.sleep(0.05)
            assert is_refused(late)


def test_a_connection_that_ends_makes_room(small: Served) -> None:
    with ExitStack() as stack:
        first, *_ = served = connections(small, MOST, stack)
        for raw in served:
            raw.ask(GET)
        assert is_refused(*connections(small, 1, stack))
        first.socket.close()
        eventually(lambda: small.context.connections.open < MOST)
        (next_one,) = connections(small, 1, stack)
        assert next_one.ask(GET).status == 200


def test_a_websocket_counts_as_long_as_it_is_open(small: Served) -> None:
    with connected(small.url) as raw:
        session = raw.ask(request("/v1/sessions", {"model": "running-sum"})).json["id"]
    with ExitStack() as stack:
        streams = [stack.enter_context(streaming(small, session)) for _ in range(MOST)]
        assert is_refused(*connections(small, 1, stack))
        assert streams[0].tell(frame(observing(1)))["position"] == 1
    eventually(lambda: small.context.connections.open == 0)


def test_refused_connections_are_not_kept(small: Served) -> None:
    with ExitStack() as stack:
        for raw in connections(small, MOST, stack):
            raw.ask(GET)
        late = connections(small, 50, stack)
        assert all(is_refused(raw) for raw in late)
        # They neither close nor say anything; the service does not wait for them for long.
        eventually(lambda: small.context.connections.open == MOST)


def test_what_was_refused_is_counted(small: Served) -> None:
    def refused() -> float:
        return small.context.metrics.registry.get_sample_value("unroll_connections_refused_total") or 0.0

    before = refused()
    with ExitStack() as stack:
        for raw in connections(small, MOST, stack):
            raw.ask(GET)
        assert all(is_refused(raw) for raw in connections(small, 3, stack))
    assert refused() == before + 3


def test_connections_that_are_reset_are_counted_off(small: Served) -> None:
    for _ in range(3 * MOST):
        raw = Raw(small.url)
        raw.socket.send(GET[:10])
        raw.reset()
    eventually(lambda: small.context.connections.open == 0)
    with connected(small.url) as raw:
        assert raw.ask(GET).status == 200
