"""Reading requests: bodies within their bound, JSON into typed messages, and errors that say what came.

Messages are `msgspec` structs. What cannot be read becomes a `BadRequest`; what does not fit, an `InputMismatch` that
names the place as a dotted path: `body.values.3` (see `mismatches`).
"""

from __future__ import annotations

import json
from functools import cache
from types import UnionType
from typing import Any, NoReturn, TypeVar, overload

import msgspec
from starlette.requests import Request

from service.errors import BadRequest, Cancelled, RequestTooLarge
from service.protocols.http_errors import UnsupportedCoding
from service.protocols.mismatches import mismatch

T = TypeVar("T")


class Message(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Base of what clients send: unknown fields are refused by name."""


async def read_body(request: Request, limit: int, *, coded: bool = False) -> bytes:
    """The request's body.

    Args:
        coded: whether it may have come in another coding, which is then the caller's to undo.

    Raises:
        UnsupportedCoding: it came compressed.
        RequestTooLarge: longer than `limit` bytes; found out before or while reading, never after.
        Cancelled: the client went away.
    """
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if not coded and coding not in ("", "identity"):
        raise UnsupportedCoding(
            f"content-encoding: expected none here, got {coding[:40]!r}: send the body as it is; V2's infer takes gzip "
            "and deflate"
        )
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > limit:
        raise _too_large(f"{announced} bytes", limit)
    body: bytes = b""
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise Cancelled("the client went away while sending")
        body += message.get("body", b"")
        if len(body) > limit:
            raise _too_large("more", limit)
        if not message.get("more_body", False):
            return body


def _too_large(came: str, limit: int) -> RequestTooLarge:
    return RequestTooLarge(
        f"body: expected at most {limit} bytes, got {came}: send it in several requests "
        "or raise UNROLL_MAX_REQUEST_BYTES"
    )


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


@overload
def decode(kind: type[T], body: bytes | str, root: str = "body") -> T: ...
@overload
def decode(kind: UnionType, body: bytes | str, root: str = "body") -> Any: ...
def decode(kind: Any, body: bytes | str, root: str = "body") -> Any:
    """A message of `kind` from JSON text; errors name places beginning with `root`.

    Raises:
        BadRequest: empty, not JSON, not UTF-8, a lone surrogate, too deeply nested.
        InputMismatch: JSON, but not such a message.
    """
    try:
        return _decoder(kind).decode(body)
    except msgspec.ValidationError as error:
        # A broken text may also fit badly before the place where it breaks; unreadable is the truer answer.
        raise mismatch(error, _parse(body, root), root, kind) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        _parse(body, root)
        raise BadRequest(f"{root}: expected JSON: {error}") from None


def convert(kind: type[T], given: dict[str, str], root: str) -> T:
    """A message of `kind` from texts by name, such as a query string's."""
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise mismatch(error, given, root, kind) from None


def _parse(body: bytes | str, root: str) -> Any:
    """The JSON value, parsed the slow way to tell exactly why it is none."""
    if not body.strip():
        raise BadRequest(f"{root}: expected a JSON object, got nothing")

    def refuse(constant: str) -> NoReturn:
        raise BadRequest(f"{root}: {constant} is not JSON; a missing value is null")

    try:
        value = json.loads(body, parse_constant=refuse)
    except UnicodeDecodeError as error:
        raise BadRequest(f"{root}: expected JSON in UTF-8, got byte 0x{error.object[error.start]:02x}") from None
    except RecursionError:
        raise BadRequest(f"{root}: expected JSON, got lists or objects nested too deeply") from None
    except ValueError as error:
        raise BadRequest(f"{root}: expected JSON: {error}") from None
    if has_lone_surrogate(value):
        raise BadRequest(f"{root}: expected Unicode text, got half of a surrogate pair, which is no character")
    return value


def has_lone_surrogate(value: Any) -> bool:
    """Whether any text in a JSON value holds a surrogate, which JSON can spell and Unicode does not allow."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False
