"""Any bytes on an HTTP connection: whatever the application alone says and does to them, the short way does too."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import count

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from service.access.web import SECURITY_HEADERS
from tests.service.protocols.hot.noting import Noted
from tests.service.protocols.hot.raw import all_quiet, connected, request
from tests.service.protocols.serving import Served

_numbers = count()
SESSION = "SESSION_ID_"
"""Stands for the session that a request is about."""
LAST = request("/health/live", b"", "Connection: close", "X-Request-Id: same", method="GET")
"""Ends a connection, so that everything it says can be read."""
_HEADERS = "".join(f"{name}: {value}\r\n" for name, value in SECURITY_HEADERS)
_UNREADABLE = f"HTTP/1.1 400 Bad Request\r\n{_HEADERS}content-type: text/plain".encode()
_PASSING = re.compile(rb'date: [^\r]+\r\n|(?<=x-request-id: )[0-9a-f]{20}|(?<="request_id":")[0-9a-f]{20}')


def path(session: str) -> str:
    return f"/v1/sessions/{session}/observe"


def observing(session: str, *values: float | None, also: str = "X-Request-Id: same") -> bytes:
    return request(path(session), {"values": list(values)}, also)


@pytest.fixture(autouse=True)
def nothing_is_left(served: Served) -> Iterator[None]:
    yield
    all_quiet(served)


def said_both_ways(served: Served, noted: Noted, data: bytes, cuts: Sequence[int] = ()) -> bytes:
    """Everything that is said to some bytes, after checking that the application alone says and does the same.

    What cannot be read has the full parser give up at once, and the answers still to come with it; below the
    application those come first.
    """
    data += LAST
    mine, my_position = _said(served, noted, data, cuts)
    with noted.through_the_application():
        theirs, their_position = _said(served, noted, data, ())
    if _UNREADABLE in theirs:
        answered, mark, last = mine.rpartition(_UNREADABLE)
        assert theirs.endswith(mark + last) and mark, f"{mine!r}\n{theirs!r}"
        assert answered.count(b"HTTP/1.1 ") == answered.count(b"HTTP/1.1 200 ") <= my_position
    else:
        assert mine == theirs and my_position == their_position
    return mine


def _said(served: Served, noted: Noted, data: bytes, cuts: Sequence[int]) -> tuple[bytes, int]:
    """What is said to data that comes in these pieces, and where the session stands then."""
    name = served.open(id=f"stream{next(_numbers):05d}")
    data = data.replace(SESSION.encode(), name.encode())
    places = [0, *sorted(set(cuts)), len(data)]
    with connected(served.url) as raw:
        noted.receive_at(raw, [data[start:end] for start, end in zip(places, places[1:], strict=False)])
        said = _PASSING.sub(b"", raw.rest()).replace(name.encode(), SESSION.encode())
    return said, served.position(name)


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n\r\nHOT",
        b"\nHOT",
        b"HOT\r\nHOT",
        b"HOT\r\n\r\n\r\nHOTHOT",
        b"HOTrubbish\r\n\r\n",
        b"HOT\0HOT",
        b"HOT POST / HTTP/1.1\r\n\r\n",
        b"HOTHOTGET / HTTP/1.1\r\nHost: localhost\r\n\r\nHOT",
        b"HOTHEAD / HTTP/1.1\r\nHost: localhost\r\n\r\nHOT",
        b"HOTOPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\nHOT",
        b"HOTPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"HOT\x16\x03\x01\x02\0",
    ],
)
def test_what_stands_between_requests_is_read_alike(served: Served, noted: Noted, data: bytes) -> None:
    said_both_ways(served, noted, data.replace(b"HOT", observing(SESSION, 1)))
    assert bool(noted.statuses) is data.startswith(b"HOT")


REQUEST = b"POST /v1/sessions/SESSION_ID_/observe HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: same\r\n%b\r\n\r\n"
BODY = b'{"values":[1]}'
SMUGGLED = request(path(SESSION), {"values": [99]}, "X-Request-Id: smuggled")


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 14\r\nContent-Length: 14",
        b"Content-Length: 14\r\nContent-Length: 200",
        b"Content-Length: 200\r\nContent-Length: 14",
        b"Content-Length: 14\r\ncontent-length: 0",
        b"Content-Length: 14, 14",
        b"Content-Length: +14",
        b"Content-Length: 014",
        b"Content-Length: 0x0e",
        b"Content-Length: 1_4",
        b"Content-Length: \xb2\xb2",
        b"Content-Length: 14 ",
        b"Content-Length:14",
        b"Content-Length:\t14",
        b"Content-Length: 14\t",
        b"Content-Length: 14\x0b",
        b"Content-Length : 14",
        b" Content-Length: 14",
        b"Content-Length: 14\r\n 00",
        b"Content-Length: 1\r\n4",
        b"Content-Length: 14\nX: 1",
        b"Content-Length: 14\rX: 1",
        b"Content-Length: 14\r\r\nX: 1",
        b"Content-Length: 14\0",
        b"Content-Length: -14",
        b"Content-Length:",
        b"Content-Length: 99999999999999999999999",
        b"Content-Length: 18446744073709551630",
        b"Content_Length: 200\r\nContent-Length: 14",
        b"Content-Length: 14\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nContent-Length: 14",
        b"Content-Length: 14\r\nTransfer-Encoding: identity",
        b"Content-Length: 14\r\nTransfer-Encoding: xchunked",
        b"Content-Length: 14\r\nTransfer-Encoding:\x0bchunked",
        b"Content-Length: 14\r\nTransfer-Encoding : chunked",
        b"Content-Length: 14\r\nTransfer_Encoding: chunked",
        b"Content-Length: 14\r\nX: y\nTransfer-Encoding: chunked",
        b"Content-Length: 14\r\nUpgrade: websocket",
        b"Content-Length: 14\r\nConnection: Upgrade",
        b"Content-Length: 14\r\nConnection: content-length",
        b"Content-Length: 14\r\n: empty",
        b"Content-Length: 14\r\nno colon",
        b"Content-Length: 14\r\nHost: twice",
        b"Content-Length: 14\r\nX: " + b"v" * 70_000,
        b"",
    ],
)
def test_where_a_body_ends_is_never_seen_differently(served: Served, noted: Noted, headers: bytes) -> None:
    said_both_ways(served, noted, REQUEST % headers + BODY + SMUGGLED)


@pytest.mark.parametrize(
    "line",
    [
        b"POST /v1/sessions/SESSION_ID_/observe HTTP/1.0",
        b"POST /v1/sessions/SESSION_ID_/observe HTTP/1.2",
        b"POST /v1/sessions/SESSION_ID_/observe HTTP/2.0",
        b"POST /v1/sessions/SESSION_ID_/observe http/1.1",
        b"POST /v1/sessions/SESSION_ID_/observe",
        b"POST  /v1/sessions/SESSION_ID_/observe HTTP/1.1",
        b"POST /v1/sessions/SESSION_ID_/observe HTTP/1.1 ",
        b"POST /v1/sessions/SESSION_ID_/observe?a=1 HTTP/1.1",
        b"POST /v1/sessions/SESSION_ID_/observe# HTTP/1.1",
        b"POST /v1/sessions/SESSION_ID_/observe/ HTTP/1.1",
        b"POST //v1/sessions/SESSION_ID_/observe HTTP/1.1",
        b"POST /v1/sessions/./SESSION_ID_/observe HTTP/1.1",
        b"POST /v1/sessions/../sessions/SESSION_ID_/observe HTTP/1.1",
        b"POST /v1/sessions/SESSION_ID%5f/observe HTTP/1.1",
        b"POST /v1/sessions/SESSION_ID_%2fobserve HTTP/1.1",
        b"POST /v1/sessions//observe HTTP/1.1",
        b"POST /v1/sessions/\xff/observe HTTP/1.1",
        b"POST http://here/v1/sessions/SESSION_ID_/observe HTTP/1.1",
        b"post /v1/sessions/SESSION_ID_/observe HTTP/1.1",
        b"GET /v1/sessions/SESSION_ID_/observe HTTP/1.1",
        b"PUT /v1/sessions/SESSION_ID_/observe HTTP/1.1",
        b"POST /v2/models/running-sum/infer HTTP/1.1",
    ],
)
def test_request_lines_are_read_alike(served: Served, noted: Noted, line: bytes) -> None:
    head = line + b"\r\nHost: localhost\r\nX-Request-Id: same\r\nContent-Length: 14\r\n\r\n"
    said_both_ways(served, noted, head + BODY + SMUGGLED)


def test_a_request_without_a_host_is_answered_alike(served: Served, noted: Noted) -> None:
    head = b"POST /v1/sessions/SESSION_ID_/observe HTTP/1.1\r\nContent-Length: 14\r\nX-Request-Id: same\r\n\r\n"
    said_both_ways(served, noted, head + BODY)


@st.composite
def one_request(draw: st.DrawFn) -> bytes:
    """A request about the session, plain or not, good or bad."""
    kind = draw(st.sampled_from(["observe"] * 6 + ["describe", "unknown", "chunked", "infer", "forecast"]))
    headers = ["X-Request-Id: same"]
    if draw(st.booleans()):
        headers.append(draw(st.sampled_from(["TE: trailers", "X-A: b", "Idempotency-Key: k", "Accept: */*"])))
    if kind == "describe":
        return request("/v1/sessions/nobody", b"", *headers, method="GET")
    if kind == "unknown":
        return request("/v1/nothing", b"unread", *headers)
    if kind == "forecast":
        return request(f"/v1/sessions/{SESSION}/forecast", {"horizon": 0}, *headers)
    if kind == "infer":
        return request("/v2/models/running-sum/infer", {"inputs": []}, *headers)
    values = draw(st.lists(st.one_of(st.none(), st.integers(-5, 5), st.floats(-1, 1), st.just("x")), max_size=3))
    body: dict[str, object] = {"values": values}
    if draw(st.integers(0, 3)) == 0:
        body["position"] = draw(st.integers(0, 5))
    if kind == "chunked":
        text = json.dumps(body).encode()
        head = request(path(SESSION), b"", *headers).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        return head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(text), text)
    return request(path(SESSION), body, *headers)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests=st.lists(one_request(), min_size=1, max_size=6), data=st.data())
def test_any_mixture_cut_anyhow_is_answered_alike(
    served: Served, noted: Noted, requests: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(requests)
    cuts = data.draw(st.lists(st.integers(1, len(stream) + len(LAST) - 1), max_size=8))
    said = said_both_ways(served, noted, stream, cuts)
    assert said.count(b"HTTP/1.1 ") == len(requests) + 1


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 400), replaced=st.integers(0, 3), by=st.binary(max_size=3), cut=st.integers(1, 300))
def test_a_few_wrong_bytes_are_read_alike(
    served: Served, noted: Noted, place: int, replaced: int, by: bytes, cut: int
) -> None:
    stream = observing(SESSION, 1) + observing(SESSION, 2.5, None)
    place %= len(stream)
    stream = stream[:place] + by + stream[place + replaced :] + LAST
    # A body longer than what follows it would be waited for, rightly.
    assume(not re.search(rb"(?i)content-length: *[0-9]{3}", stream))
    said_both_ways(served, noted, stream, [cut])
