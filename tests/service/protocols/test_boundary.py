"""The error boundary: every protocol's own shape, request ids, bounds on bodies, and nothing of the framework's."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import known_models
from tests.service.protocols.serving import Served, serve

NATIVE = "/v1/sessions"
OPENAI = "/v1/completions"
KSERVE = "/v1/timeseries/forecast"
SHAPES = {
    NATIVE: {"code", "message", "request_id"},
    OPENAI: {"message", "type", "param", "code"},
    KSERVE: {"code", "message", "param", "type"},
}


def error_of(answer: httpx.Response, path: str) -> dict[str, Any]:
    """The error, once it is known to be in the protocol's own shape."""
    document = answer.json()
    assert document.keys() == {"error"}, document
    error: dict[str, Any] = document["error"]
    assert SHAPES[path] <= error.keys() <= SHAPES[path] | {"parameter"}
    return error


@pytest.mark.parametrize("path", SHAPES)
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "got nothing"),
        (b"{", "expected JSON"),
        (b'{"model": NaN}', "NaN is not JSON"),
        (b'{"model": "\xff"}', "UTF-8"),
        (b'{"model": "\\udc00"}', "surrogate"),
        (b"[" * 50_000, "nested too deeply"),
    ],
)
def test_what_cannot_be_read_is_400_in_every_shape(served: Served, path: str, content: bytes, words: str) -> None:
    answer = served.client.post(path, content=content)
    assert answer.status_code == 400
    assert words in error_of(answer, path)["message"]


@pytest.mark.parametrize("path", SHAPES)
def test_a_body_beyond_the_bound_is_413(served: Served, path: str) -> None:
    answer = served.client.post(path, content=b" " * 200_001)
    assert answer.status_code == 413
    message = error_of(answer, path)["message"]
    assert "at most 200000 bytes" in message and "UNROLL_MAX_REQUEST_BYTES" in message


def test_a_body_of_unknown_length_is_bounded_while_it_is_read(served: Served) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(300):
            yield b" " * 1000

    answer = served.client.post(NATIVE, content=endless())
    assert answer.status_code == 413 and "got more" in error_of(answer, NATIVE)["message"]


@pytest.mark.parametrize(
    ("path", "shape"),
    [("/v1/timeseries/poem", KSERVE), ("/v1/completions/5", OPENAI), ("/v3/models", NATIVE), ("/favicon.ico", NATIVE)],
)
def test_an_unknown_path_is_404_in_its_shape(served: Served, path: str, shape: str) -> None:
    answer = served.client.get(path)
    assert answer.status_code == 404 and error_of(answer, shape)["code"] == "path_not_found"


@pytest.mark.parametrize(("path", "allowed"), [(NATIVE, "DELETE, GET, POST"), (OPENAI, "POST"), (KSERVE, "POST")])
def test_a_method_not_served_is_405_with_those_that_are(served: Served, path: str, allowed: str) -> None:
    answer = served.client.put(path)
    assert answer.status_code == 405 and answer.headers["allow"] == allowed
    assert allowed in error_of(answer, path)["message"]


def test_a_request_id_comes_back_or_is_made(served: Served) -> None:
    given = served.client.get("/v1/models", headers={"x-request-id": "my-id.7"})
    assert given.headers["x-request-id"] == "my-id.7"
    made = served.client.get("/v1/models/nobody", headers={"x-request-id": "not one\t!"})
    assert re.fullmatch("[0-9a-f]{20}", made.headers["x-request-id"])
    assert made.json()["error"]["request_id"] == made.headers["x-request-id"]


def test_the_unexpected_is_a_bare_500(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a secret detail")

    monkeypatch.setattr(served.context.service.store, "get", broken)
    answer = served.client.get("/v1/sessions/a")
    assert answer.status_code == 500
    error = error_of(answer, NATIVE)
    assert error["code"] == "internal_error" and "secret" not in answer.text


def test_half_a_request_disturbs_nobody(served: Served) -> None:
    session = served.open()
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST /v1/sessions/{session}/observe HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n"
        connection.sendall(head.encode() + b'{"values": [1')
    assert served.observe(session, values=[1])["position"] == 1


def test_what_is_not_http_disturbs_nobody(served: Served) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"\x00\x01\x02 nonsense\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400")
    assert served.client.get("/health/live").status_code == 200


def test_a_session_id_in_the_path_may_be_anything(served: Served) -> None:
    for odd in ("%00", "%F0%9F%A6%9C", "a" * 500, "%ED%A0%80", "..%2F..", "'; drop table"):
        answer = served.client.get(f"/v1/sessions/{odd}")
        assert answer.status_code == 404, (odd, answer.text)
        error_of(answer, NATIVE)


def test_known_models_are_not_disturbed_by_any_of_this(served: Served) -> None:
    assert {model["id"] for model in served.client.get("/v1/models").json()["data"]} >= {known_models.RUNNING_SUM}


def test_a_head_without_end_is_refused(served: Served) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\nx-long: ")
        with contextlib.suppress(ConnectionError):
            for _ in range(10_000):
                connection.sendall(b"a" * 10_000)
            raise AssertionError("100 MB of one header were taken")
    assert served.client.get("/health/live", headers={"x-long": "a" * 30_000}).status_code == 200


def test_what_a_shutdown_refuses_is_logged_as_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with serve(tmp_path) as served:
        served.context.traffic.draining = True
        assert served.client.get("/v1/models").status_code == 503
    (level,) = (record.levelname for record in caplog.records if record.name == "service.requests")
    assert level == "WARNING"
