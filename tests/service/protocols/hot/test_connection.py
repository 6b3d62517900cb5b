"""An HTTP connection below the application: pieces, pipelines, keep-alive, and what is left to the application."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from service.sessions.ownership import SessionKey
from tests.service.protocols.hot.noting import Noted
from tests.service.protocols.hot.raw import all_quiet, connected, eventually, request
from tests.service.protocols.serving import Served
from tests.service.running import gated


def path(session: str) -> str:
    return f"/v1/sessions/{session}/observe"


def observing(session: str, *values: float | None, also: str = "X-Request-Id: same") -> bytes:
    return request(path(session), {"values": list(values)}, also)


@pytest.fixture(autouse=True)
def nothing_is_left(served: Served) -> Iterator[None]:
    yield
    all_quiet(served)


@pytest.fixture
def session(served: Served) -> str:
    return served.open()


def test_a_request_may_come_in_two_pieces_cut_anywhere(served: Served, noted: Noted, session: str) -> None:
    data = observing(session, 1)
    with connected(served.url) as raw:
        for cut in range(1, len(data)):
            noted.receive_at(raw, [data[:cut], data[cut:]])
            assert raw.answer().json["position"] == cut
    body = len(data) - data.index(b"\r\n\r\n") - 4
    assert len(noted.statuses) == body, "only one whose head came in one piece takes the short way"


def test_a_request_may_come_byte_by_byte(served: Served, noted: Noted, session: str) -> None:
    data = observing(session, 1) * 2
    with connected(served.url) as raw:
        noted.receive_at(raw, [data[place : place + 1] for place in range(len(data))])
        assert [raw.answer().json["position"] for _ in range(2)] == [1, 2]


def test_a_body_may_come_byte_by_byte(served: Served, noted: Noted, session: str) -> None:
    data = observing(session, 1)
    head = data.index(b"\r\n\r\n") + 4
    with connected(served.url) as raw:
        noted.receive_at(raw, [data[:head], *(data[place : place + 1] for place in range(head, len(data)))])
        assert raw.answer().json["position"] == 1
    assert noted.statuses == [200]


def test_a_thousand_pipelined_requests_are_answered_in_order(served: Served, noted: Noted, session: str) -> None:
    with connected(served.url) as raw:
        raw.send(b"".join(observing(session, number) for number in range(1000)))
        assert [raw.answer().json["position"] for _ in range(1000)] == list(range(1, 1001))
    assert noted.statuses == [200] * 1000


def test_requests_of_both_kinds_may_be_pipelined(served: Served, noted: Noted, session: str) -> None:
    cold = request(f"/v1/sessions/{session}", b"", method="GET")
    chunked = (
        f"POST {path(session)} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        'a\r\n{"values":\r\n4\r\n[1]}\r\n0\r\n\r\n'
    ).encode()
    mixed = [observing(session, 1), cold, observing(session, 1), chunked, observing(session, None), observing(session)]
    with connected(served.url) as raw:
        raw.send(b"".join(mixed * 20))
        for number in range(20):
            seen = [raw.answer() for _ in mixed]
            assert [answer.status for answer in seen] == [200, 200, 200, 200, 200, 422]
            positions = [answer.json["position"] for answer in seen[:5]]
            assert positions == [4 * number + more for more in (1, 1, 2, 3, 4)]


def test_the_short_way_is_taken_again_after_the_application_was_asked(
    served: Served, noted: Noted, session: str
) -> None:
    with connected(served.url) as raw:
        for number in range(1, 6):
            assert raw.ask(request(f"/v1/sessions/{session}", b"", method="GET")).status == 200
            assert raw.ask(observing(session, 1)).json["position"] == number
            assert noted.statuses == [200] * number
            assert raw.ask(request("/v1/nothing", b"a body nobody reads")).status == 404


def test_answers_carry_the_clients_request_id_or_a_new_one(served: Served, noted: Noted, session: str) -> None:
    with connected(served.url) as raw:
        for given, kept in (("mine", True), ("a.B-9_", True), ("", False), ("no blanks", False), ("x" * 129, False)):
            found = raw.ask(observing(session, 1, also=f"X-Request-Id: {given}")).headers[b"x-request-id"].decode()
            assert (found == given) is kept and found
        ids = {raw.ask(observing(session, 1, also="X-Other: 1")).headers[b"x-request-id"] for _ in range(5)}
    assert len(ids) == 5 and len(noted.statuses) == 10


@pytest.mark.parametrize(
    ("version", "headers", "closes"),
    [
        ("1.1", [], False),
        ("1.1", ["Connection: close"], True),
        ("1.1", ["Connection: Close"], True),
        ("1.1", ["Connection: keep-alive, close"], True),
        ("1.0", [], True),
        ("1.0", ["Connection: close"], True),
    ],
)
def test_a_connection_is_kept_or_closed_as_asked(
    served: Served, noted: Noted, session: str, version: str, headers: list[str], closes: bool
) -> None:
    with connected(served.url) as raw:
        raw.send(request(path(session), {"values": [1]}, *headers, version=version))
        answer = raw.answer()
        assert answer.status == 200 and (answer.headers.get(b"connection") == b"close") is closes
        if closes:
            assert raw.is_closed and not noted.statuses
        else:
            assert raw.ask(observing(session, 1)).json["position"] == 2


def test_what_comes_after_the_last_request_of_a_connection_is_not_answered(
    served: Served, noted: Noted, session: str
) -> None:
    with connected(served.url) as raw:
        raw.send(observing(session, 1, also="Connection: close") + observing(session, 2) + b"rubbish")
        assert raw.answer().status == 200 and raw.is_closed
    assert served.position(session) == 1


def test_a_client_may_ask_to_be_told_to_go_on(served: Served, noted: Noted, session: str) -> None:
    data = observing(session, 1, also="Expect: 100-continue")
    with connected(served.url) as raw:
        head, _, body = data.partition(b"\r\n\r\n")
        raw.send(head + b"\r\n\r\n")
        assert raw.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert raw.ask(body).json["position"] == 1
        assert raw.ask(observing(session, 1)).json["position"] == 2
    assert noted.statuses == [200]


def test_a_request_to_upgrade_is_never_the_short_ways(served: Served, noted: Noted, session: str) -> None:
    with connected(served.url) as raw:
        raw.ask(request(path(session), {"values": [1]}, "Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings"))
    assert noted.all == 0


def test_a_client_that_offers_http2_in_clear_text_is_answered_in_http1(served: Served) -> None:
    session = served.open()
    offer = ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"]
    with connected(served.url) as raw:
        for position in (1, 2):
            raw.send(request(f"/v1/sessions/{session}/observe", {"values": [1]}, *offer))
            answer = raw.answer()
            assert answer.status == 200 and answer.json["position"] == position


def test_steps_of_several_connections_wait_for_each_other_below_the_application(
    served: Served, noted: Noted, session: str
) -> None:
    found = served.context.service.store.find(SessionKey(session))
    assert found is not None
    with ExitStack() as stack:
        raws = [stack.enter_context(connected(served.url)) for _ in range(4)]
        gate = stack.enter_context(gated(found.model))
        gate.close()
        try:
            for raw in raws:
                raw.send(observing(session, 1, 2))  # more than one step goes to the engine's own thread
            eventually(lambda: len(found._waiting or ()) == 3)
        finally:
            gate.open()
        answers = [raw.answer() for raw in raws]
    assert sorted(answer.json["start"] for answer in answers) == [0, 2, 4, 6]
    assert noted.statuses == [200] * 4


def test_a_name_that_points_here_from_elsewhere_takes_no_short_way_around_its_refusal(
    served: Served, noted: Noted, session: str
) -> None:
    data = observing(session, 1)
    rebound = data.replace(b"Host: localhost", b"Host: evil.example")
    assert rebound != data
    with connected(served.url) as raw:
        assert raw.ask(data).status == 200
        for _ in range(2):
            assert raw.ask(rebound).status == 403
        assert raw.ask(data).json["position"] == 2
    assert noted.statuses == [200, 200]


def test_what_a_page_of_another_site_loads_takes_no_short_way_either(
    served: Served, noted: Noted, session: str
) -> None:
    with connected(served.url) as raw:
        assert raw.ask(observing(session, 1, also="Sec-Fetch-Site: cross-site")).status == 403
    assert not noted.statuses and served.position(session) == 0
