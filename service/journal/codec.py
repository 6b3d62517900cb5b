"""Records as bytes: MessagePack with arrays and timestamps, and nothing that could run on reading."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec
import numpy as np
from msgspec.msgpack import Decoder, Encoder, Ext

_ARRAY, _SCALAR, _TIMESTAMP = 1, 2, 3
_PLAIN_KINDS = "biufM"
"""numpy's kinds of numbers, booleans and timestamps: those whose bytes are all there is to them."""

_parts = Encoder()
_array_parts = Decoder(tuple[str, tuple[int, ...], bytes])

T = TypeVar("T")


class CodecError(ValueError):
    """Bytes that are no record of the expected kind."""


class Records(Generic[T]):
    """How records of one kind become bytes and come back equal, arrays to the bit.

    Args:
        kind: a dataclass, or a msgspec struct, or `Any`. Where it says `Any`, tuples come back as lists.
    """

    def __init__(self, kind: type[T] | Any = Any) -> None:
        self._encoder = Encoder(enc_hook=_encode_special)
        self._decoder: Decoder[Any] = Decoder(kind, ext_hook=_decode_special, dec_hook=_as_it_is)

    def encode(self, record: T) -> bytes:
        """The record's bytes."""
        return self._encoder.encode(record)

    def append(self, value: Any, to: bytearray) -> None:
        """Append the bytes of anything that is made of records and plain values."""
        self._encoder.encode_into(value, to, len(to))

    def decode(self, data: bytes) -> T:
        """The record.

        Raises:
            CodecError: the bytes are no record of this kind.
        """
        try:
            record: T = self._decoder.decode(data)
        except (msgspec.MsgspecError, ValueError, TypeError) as error:
            raise CodecError(f"not a record of the expected kind: {error}") from error
        return record


def _encode_special(value: Any) -> Ext:
    if isinstance(value, np.datetime64):
        return Ext(_TIMESTAMP, str(value).encode())
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in _PLAIN_KINDS:
        code = _ARRAY if isinstance(value, np.ndarray) else _SCALAR
        return Ext(code, _parts.encode((value.dtype.str, value.shape, value.tobytes())))
    raise NotImplementedError(f"records hold plain values, arrays of numbers and timestamps, not {type(value)}")


def _decode_special(code: int, data: memoryview) -> Any:
    if code == _TIMESTAMP:
        return np.datetime64(bytes(data).decode())
    if code not in (_ARRAY, _SCALAR):
        raise ValueError(f"unknown extension {code}")
    name, shape, content = _array_parts.decode(data)
    dtype = np.dtype(name)
    if dtype.kind not in _PLAIN_KINDS:
        raise ValueError(f"an array of {name}")
    values = np.frombuffer(content, dtype).reshape(shape)
    return values if code == _ARRAY else values[()]


def _as_it_is(kind: type, value: Any) -> Any:
    """What `_decode_special` has made already, where the record's kind names an array or a timestamp."""
    if isinstance(value, np.ndarray | np.generic):
        return value
    raise TypeError(f"expected {kind}, got {type(value)}")
