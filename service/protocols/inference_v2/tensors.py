"""Tensor contents: raw bytes and lists of JSON values to arrays, and back.

Raw contents are little-endian and row-major without gaps; a BYTES element is its length in 4 bytes, then its bytes.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import InputMismatch
from service.protocols.inference_v2.core import TensorIn
from service.protocols.mismatches import shown

DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
"""The standard's datatypes as numpy has them; BYTES is beside them."""

_MAX_RANK = 8
_MOST_AROUND_NONE = 2**40
"""Elements of a shape with an extent of 0, were it 1: far past what any request may bring."""
_JSON_TYPES: dict[str, frozenset[type]] = {
    "b": frozenset({bool}),
    "u": frozenset({int}),
    "i": frozenset({int}),
    "f": frozenset({int, float, type(None)}),
}
"""What JSON may hold for each kind of dtype; null is a missing number."""
_JSON_WORDS = {"b": "true or false", "u": "whole numbers", "i": "whole numbers", "f": "numbers or null"}


def element_count(name: str, datatype: str, shape: Sequence[int]) -> int:
    """How many elements a tensor of that shape has.

    Raises:
        InputMismatch: a datatype that does not exist, or a shape that cannot be.
    """
    if datatype not in DTYPES and datatype != "BYTES":
        raise mismatch(name, f"expected a datatype of {', '.join([*DTYPES, 'BYTES'])}, got {datatype[:20]!r}")
    if len(shape) > _MAX_RANK:
        raise mismatch(name, f"expected at most {_MAX_RANK} dimensions, got {len(shape)}")
    if min(shape, default=0) < 0:
        raise mismatch(name, f"expected a shape of numbers from 0 on, got {list(shape)}")
    count = math.prod(shape)
    # An extent of 0 lets the others be anything, past what an array's shape can say; any other shape has to be filled.
    if not count and math.prod(max(extent, 1) for extent in shape) > _MOST_AROUND_NONE:
        raise mismatch(name, f"expected a shape of numbers that memory could hold, got {list(shape)}")
    return count


def from_raw(name: str, datatype: str, shape: Sequence[int], raw: bytes) -> TensorIn:
    """A tensor from its raw contents.

    Raises:
        InputMismatch: the bytes do not fill the shape.
    """
    count = element_count(name, datatype, shape)
    if datatype == "BYTES":
        return TensorIn(name, datatype, tuple(shape), _elements(name, count, raw))
    dtype = DTYPES[datatype]
    if len(raw) != count * dtype.itemsize:
        raise mismatch(name, f"expected {count * dtype.itemsize} bytes for {datatype} {list(shape)}, got {len(raw)}")
    return TensorIn(name, datatype, tuple(shape), np.frombuffer(raw, dtype).reshape(shape))


def _elements(name: str, count: int, raw: bytes) -> list[bytes]:
    elements: list[bytes] = []
    place = 0
    while place < len(raw):
        if place + 4 > len(raw):
            raise mismatch(name, f"element {len(elements)} begins with {len(raw) - place} of the 4 bytes of its length")
        (length,) = struct.unpack_from("<I", raw, place)
        place += 4 + length
        if place > len(raw):
            raise mismatch(
                name, f"element {len(elements)} says {length} bytes, {place - len(raw)} of them are not there"
            )
        elements.append(raw[place - length : place])
    if len(elements) != count:
        raise mismatch(name, f"expected {count} elements, got {len(elements)}")
    return elements


def from_values(name: str, datatype: str, shape: Sequence[int], values: list[Any]) -> TensorIn:
    """A tensor from JSON values, flat in row-major order or nested as its shape says.

    Raises:
        InputMismatch: the values do not fill the shape, or are not of the datatype.
    """
    count = element_count(name, datatype, shape)
    kinds = set(map(type, values))
    if list in kinds:
        values = _flat(name, shape, values)
        kinds = set(map(type, values))
    if len(values) != count:
        raise mismatch(name, f"expected {count} values for {list(shape)}, got {len(values)}")
    if datatype == "BYTES":
        if not kinds <= {str}:
            raise mismatch(name, "expected texts for BYTES")
        return TensorIn(name, datatype, tuple(shape), [value.encode() for value in values])
    dtype = DTYPES[datatype]
    allowed = _JSON_TYPES[dtype.kind]
    if not kinds <= allowed:
        stranger = next(value for value in values if type(value) not in allowed)
        raise mismatch(name, f"expected {_JSON_WORDS[dtype.kind]} for {datatype}, got {shown(stranger)}")
    return TensorIn(name, datatype, tuple(shape), _array(name, dtype, values).reshape(shape))


def _flat(name: str, shape: Sequence[int], values: list[Any]) -> list[Any]:
    """The values of a list that is nested, all the way down."""
    level: list[Any] = [values]
    for axis, extent in enumerate(shape):
        for part in level:
            if type(part) is not list or len(part) != extent:
                came = f"a list of {len(part)}" if type(part) is list else "a value"
                raise mismatch(
                    name,
                    f"expected values nested as {list(shape)}, or flat: a list of {extent} at axis {axis}, got {came}",
                )
        level = list(chain.from_iterable(level))
    return level


def _array(name: str, dtype: np.dtype[Any], flat: list[Any]) -> NDArray[Any]:
    try:
        if dtype.kind == "f":
            # What is too large becomes infinite, which no input may be.
            with np.errstate(over="ignore"):
                return np.array(flat, np.float64).astype(dtype)
        return np.array(flat, dtype)
    except OverflowError:
        raise mismatch(name, f"expected numbers that {dtype.name} can hold") from None


def to_raw(data: NDArray[Any]) -> bytes:
    """The raw contents of a tensor; of an array of texts those of BYTES."""
    if data.dtype == object:
        encoded = [text.encode() for text in data.ravel()]
        return b"".join(struct.pack("<I", len(element)) + element for element in encoded)
    return data.astype(data.dtype.newbyteorder("<"), copy=False).tobytes()


def mismatch(name: str, what: str) -> InputMismatch:
    """What is wrong with one tensor of a request."""
    return InputMismatch(f"input {name[:60]!r}: {what}", parameter=name[:60])
