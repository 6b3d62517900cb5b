"""Content codings of bodies, gzip and deflate, both ways; what comes out of a small body stays within its bound."""

from __future__ import annotations

import asyncio
import zlib

from service.errors import BadRequest, RequestTooLarge

_GZIP, _ZLIB, _RAW = 31, 15, -15
"""zlib's names of the containers: windows of 32 KiB in gzip's, in zlib's own, or in none."""
_WORTH_A_THREAD = 64 * 1024
_WORTH_COMPRESSING = 1024
_LEVEL = 1
"""Numbers gain little from more."""


async def decompressed(body: bytes, coding: str, limit: int) -> bytes:
    """The body that was compressed with `coding`.

    Raises:
        BadRequest: another coding, or not a body of it.
        RequestTooLarge: it comes to more than `limit` bytes; no more than that is ever made of it.
    """
    if coding in ("", "identity"):
        return body
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise BadRequest(f"content-encoding: expected gzip, deflate or identity, got {coding[:40]!r}")
    if len(body) < _WORTH_A_THREAD:
        return _inflated(body, coding, limit)
    return await asyncio.to_thread(_inflated, body, coding, limit)


def _inflated(body: bytes, coding: str, limit: int) -> bytes:
    # "deflate" is zlib's container by the standard, and none at all with some clients. CMF's low half is 8 in zlib's.
    container = _GZIP if coding != "deflate" else _ZLIB if body[:1] and body[0] & 15 == 8 else _RAW
    work = zlib.decompressobj(container)
    try:
        plain = work.decompress(body, limit + 1)
    except zlib.error as error:
        raise BadRequest(f"body: expected a body compressed with {coding}: {error}") from None
    if len(plain) > limit:
        raise RequestTooLarge(
            f"body: expected at most {limit} bytes when decompressed, got more: send it in several requests or raise "
            "UNROLL_MAX_REQUEST_BYTES"
        )
    if not work.eof or work.unused_data:
        raise BadRequest(f"body: expected one whole body compressed with {coding}, got a part, or more than one")
    return plain


def chosen_coding(accepted: str) -> str | None:
    """The coding for an answer, from what a client accepts (`gzip;q=0.5, deflate`); None for none."""
    best, weight = None, 0.0
    for part in accepted.split(","):
        name, _, quality = part.partition(";")
        name = name.strip().lower()
        if name in ("gzip", "deflate") and (given := _quality(quality)) > weight:
            best, weight = name, given
    return best


def _quality(text: str) -> float:
    text = text.strip().lower()
    if not text:
        return 1.0
    try:
        return float(text.removeprefix("q="))
    except ValueError:
        return 0.0


async def compressed(body: bytes, accepted: str) -> tuple[bytes, str | None]:
    """The body and its coding, compressed where the client accepts that and the body is not small."""
    coding = chosen_coding(accepted) if len(body) >= _WORTH_COMPRESSING else None
    if coding is None:
        return body, None
    if len(body) < _WORTH_A_THREAD:
        return _deflated(body, coding), coding
    return await asyncio.to_thread(_deflated, body, coding), coding


def _deflated(body: bytes, coding: str) -> bytes:
    work = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP if coding == "gzip" else _ZLIB)
    return work.compress(body) + work.flush()
