from __future__ import annotations

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.protocols.hot.head import read_head, without_h2c

LINE = b"POST /v1/sessions/s/observe HTTP/1.1"
PLAIN = (LINE, b"Host: here", b"Content-Length: 12")


def head(*lines: bytes) -> bytes:
    return b"\r\n".join(lines)


def test_a_plain_head_is_read() -> None:
    read = read_head(head(*PLAIN, b"X-Request-Id:  a b  c", b"EMPTY:", b"Connection: Keep-Alive"))
    assert read is not None
    assert (read.path, read.length) == (b"/v1/sessions/s/observe", 12)
    assert read.headers == {
        b"host": b"here",
        b"content-length": b"12",
        b"x-request-id": b"a b  c",
        b"empty": b"",
        b"connection": b"Keep-Alive",
    }


@pytest.mark.parametrize(
    "line",
    [
        b"GET /a HTTP/1.1",
        b"POST /a HTTP/1.0",
        b"POST /a HTTP/1.1 ",
        b"POST  /a HTTP/1.1",
        b"POST /a?b HTTP/1.1",
        b"POST /%61 HTTP/1.1",
        b"POST a HTTP/1.1",
        b"POST /\xe4 HTTP/1.1",
        b"",
    ],
)
def test_other_request_lines_are_not_plain(line: bytes) -> None:
    assert read_head(head(line, *PLAIN[1:])) is None


@pytest.mark.parametrize(
    "line",
    [
        b"Transfer-Encoding: chunked",
        b"EXPECT: 100-continue",
        b"Upgrade: h2c",
        b"Content-Encoding: gzip",
        b"Trailer: x",
        b"TE: trailers",
        b"Connection: close",
        b"Connection: keep-alive, upgrade",
        b"Connection:",
        b"Content-Length: 12",
        b"HOST: there",
        b"no colon",
        b": nameless",
        b"X : blank before the colon",
        b" X: folded",
        b"X_Y: underscore",
        b"X: blank at the end ",
        b"X: tab\tinside",
        b"X: \xe4",
        b"X: a\nY: b",
        b"X: a\rY: b",
        b"X: nul\0",
    ],
)
def test_anything_unusual_is_not_plain(line: bytes) -> None:
    assert read_head(head(*PLAIN)) is not None
    assert read_head(head(*PLAIN, line)) is None
    assert read_head(head(LINE, line, *PLAIN[1:])) is None


@pytest.mark.parametrize("length", [b"", b"-1", b"+1", b"1.0", b"1,1", b"0x1", b"1 1", b"12345678", b"\xb2"])
def test_a_length_is_a_few_digits(length: bytes) -> None:
    assert read_head(head(LINE, b"Host: here", b"Content-Length: " + length)) is None


def test_host_and_length_must_be_there() -> None:
    assert read_head(head(LINE, b"Host: here")) is None
    assert read_head(head(LINE, b"Content-Length: 1")) is None


class _Full:
    """What the full parser makes of a request."""

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.url = self.body = b""
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True


names = st.one_of(
    st.sampled_from([b"Host", b"Content-Length", b"X", b"connection", b"TE"]), st.binary(min_size=1, max_size=4)
)
values = st.one_of(st.sampled_from([b"3", b"03", b"keep-alive", b" ", b"a b"]), st.binary(max_size=6))
lines = st.tuples(names, st.sampled_from([b":", b": ", b" :", b":  "]), values).map(b"".join)


@settings(max_examples=300, deadline=None)
@given(st.lists(lines, max_size=4), st.sampled_from([b"\r\n", b"\n", b"\r"]))
def test_whatever_is_plain_is_read_as_the_full_parser_reads_it(more: list[bytes], end: bytes) -> None:
    text = end.join([head(LINE, b"Host: here", b"Content-Length: 3"), *more]) if more else head(*PLAIN[:2])
    read = read_head(text)
    if read is None:
        return
    full = _Full()
    parser = httptools.HttpRequestParser(full)
    parser.feed_data(text + b"\r\n\r\n" + b"x" * read.length + b"POST")
    assert (full.url, full.body, full.complete) == (read.path, b"x" * read.length, True)
    assert dict(full.headers) == read.headers and parser.should_keep_alive() and not parser.should_upgrade()


def test_an_offer_of_http2_in_clear_text_is_left_out_and_nothing_else() -> None:
    offer = head(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk")
    kept = head(b"Connection: Upgrade, HTTP2-Settings", b"HTTP2-Settings: AAMAAABk")
    assert without_h2c(offer + b"\r\n\r\nupgrade: h2c") == kept + b"\r\n\r\nupgrade: h2c"
    for whole in (head(b"Upgrade: websocket") + b"\r\n\r\n", offer):
        assert without_h2c(whole) == whole
