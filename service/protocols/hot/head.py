"""The head of a plain HTTP/1.1 request with a body, read in one pass; anything unusual is left to the full parser."""

from __future__ import annotations

import re
from dataclasses import dataclass

_REQUEST_LINE = re.compile(rb"POST (/[A-Za-z0-9/._:~-]*) HTTP/1\.1")
_NAME = re.compile(rb"[A-Za-z0-9-]+")
_LENGTH = re.compile(rb"\d{1,7}")
_VALUE = re.compile(rb" *((?:[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)?)")
"""In ASCII and with no blank at its end, which the full parser would take for a part of it."""
_H2C = re.compile(rb"upgrade:[ \t]*h2c[ \t]*", re.IGNORECASE)
_UNUSUAL = frozenset((b"transfer-encoding", b"expect", b"upgrade", b"content-encoding", b"trailer", b"te", b"origin"))
"""Headers that change how a request is read or answered; requests that have them are left to the application."""


@dataclass(frozen=True, slots=True)
class Head:
    """A request's path, the length of its body in bytes, and its headers by lower-case name."""

    path: bytes
    length: int
    headers: dict[bytes, bytes]


def without_h2c(data: bytes) -> bytes:
    """A request without its offer to go on in HTTP/2 in clear text, which Java's client makes with every first one.

    Nothing obliges a server to take it up, but the full parser would take the body for the other protocol's.
    """
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end or b"h2c" not in head:
        return data
    lines = [line for line in head.split(b"\r\n") if not _H2C.fullmatch(line)]
    return b"\r\n".join(lines) + end + rest


def read_head(text: bytes) -> Head | None:
    """The head in `text`, which ends before its empty line; None where it is not a plain one.

    Plain: a POST with an unescaped path and no query, each header once, on one line and in ASCII, one Content-Length,
    nothing that asks for another encoding or for the connection to be closed.
    """
    lines = text.split(b"\r\n")
    if text.count(b"\n") != len(lines) - 1 or not (request := _REQUEST_LINE.fullmatch(lines[0])):
        return None
    headers: dict[bytes, bytes] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        name = name.lower()
        if not colon or name in headers or not _NAME.fullmatch(name) or not (found := _VALUE.fullmatch(value)):
            return None
        headers[name] = found[1]
    length = headers.get(b"content-length", b"")
    if not _LENGTH.fullmatch(length) or not _UNUSUAL.isdisjoint(headers) or b"host" not in headers:
        return None
    if headers.get(b"connection", b"keep-alive").lower() != b"keep-alive":
        return None
    return Head(request[1], int(length), headers)
