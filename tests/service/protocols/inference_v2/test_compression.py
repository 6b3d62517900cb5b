"""Content codings: both ways, of every kind clients send, and never more than the bound."""

from __future__ import annotations

import gzip
import zlib

import pytest

from service.errors import BadRequest, RequestTooLarge
from service.protocols.inference_v2.compression import chosen_coding, compressed, decompressed

pytestmark = pytest.mark.anyio

BODY = b"a body of many bytes " * 100


def raw_deflate(body: bytes) -> bytes:
    work = zlib.compressobj(wbits=-15)
    return work.compress(body) + work.flush()


@pytest.mark.parametrize(
    ("coding", "sent"),
    [
        ("", BODY),
        ("identity", BODY),
        ("gzip", gzip.compress(BODY)),
        ("x-gzip", gzip.compress(BODY)),
        ("deflate", zlib.compress(BODY)),
        ("deflate", raw_deflate(BODY)),
    ],
)
async def test_every_coding_is_read(coding: str, sent: bytes) -> None:
    assert await decompressed(sent, coding, 10_000) == BODY


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_bomb_is_refused_before_it_goes_off(coding: str) -> None:
    bomb = bytes(50_000_000)
    sent = gzip.compress(bomb) if coding == "gzip" else zlib.compress(bomb)
    assert len(sent) < 100_000
    with pytest.raises(RequestTooLarge, match="at most 1000000 bytes when decompressed"):
        await decompressed(sent, coding, 1_000_000)


async def test_a_body_of_just_the_bound_is_read() -> None:
    assert await decompressed(gzip.compress(BODY), "gzip", len(BODY)) == BODY
    with pytest.raises(RequestTooLarge):
        await decompressed(gzip.compress(BODY), "gzip", len(BODY) - 1)


@pytest.mark.parametrize(
    ("coding", "sent", "message"),
    [
        ("br", BODY, "expected gzip, deflate or identity, got 'br'"),
        ("gzip", BODY, "expected a body compressed with gzip"),
        ("deflate", BODY, "expected a body compressed with deflate"),
        ("deflate", b"", "expected one whole body compressed with deflate"),
        ("gzip", gzip.compress(BODY)[:-9], "expected one whole body compressed with gzip"),
        ("gzip", gzip.compress(BODY) + b"more", "got a part, or more than one"),
    ],
)
async def test_what_cannot_be_read_is_refused(coding: str, sent: bytes, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        await decompressed(sent, coding, 10_000)


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("", None),
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("gzip, deflate, br", "gzip"),
        ("gzip;q=0.5, deflate;q=0.8", "deflate"),
        ("GZIP", "gzip"),
        ("gzip;q=0", None),
        ("gzip;q=often", None),
        ("br, zstd", None),
    ],
)
def test_the_coding_is_the_one_the_client_prefers(accepted: str, coding: str | None) -> None:
    assert chosen_coding(accepted) == coding


async def test_only_long_answers_are_compressed() -> None:
    assert await compressed(b"short", "gzip") == (b"short", None)
    assert await compressed(BODY, "") == (BODY, None)
    body, coding = await compressed(BODY, "gzip")
    assert coding == "gzip" and len(body) < len(BODY) and gzip.decompress(body) == BODY
    body, coding = await compressed(BODY * 100, "deflate")
    assert coding == "deflate" and zlib.decompress(body) == BODY * 100
