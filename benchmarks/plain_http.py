"""Plain HTTP for the benchmarks: a prepared request as bytes, and one request with its answer."""

from __future__ import annotations

import json
import socket
from http.client import HTTPConnection, HTTPResponse
from typing import Any

JSON = "application/json"
_SECONDS = 20


def prepared(path: str, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    """A whole POST request as it goes over the wire."""
    lines = [f"POST {path} HTTP/1.1", "host: localhost", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in ({"content-type": JSON} | (headers or {})).items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def send(address: str, request: bytes) -> bytes:
    """Send a prepared request over a connection of its own and return the answer's body.

    Raises:
        RuntimeError: the answer is an error.
    """
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=_SECONDS) as connection:
        connection.sendall(request)
        return _content(HTTPResponse(connection, method="POST"), request.partition(b"\r\n")[0].decode())


def call(address: str, path: str, body: Any, method: str = "POST") -> Any:
    """Send a value as JSON and return the value that the answer holds.

    Raises:
        RuntimeError: the answer is an error.
    """
    connection = HTTPConnection(address, timeout=_SECONDS)
    try:
        connection.request(method, path, json.dumps(body), {"content-type": JSON})
        return json.loads(_content(connection.getresponse(), f"{method} {path}") or b"null")
    finally:
        connection.close()


def _content(answer: HTTPResponse, what: str) -> bytes:
    if not answer.headers:  # read off a bare socket, it has not begun
        answer.begin()
    content = answer.read()
    if answer.status >= 300:
        raise RuntimeError(f"{what}: {answer.status} {content.decode(errors='replace')[:500]}")
    return content
