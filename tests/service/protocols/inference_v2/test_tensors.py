"""Tensor contents: whatever came flat, nested or raw is the same array, and what does not fit is told where."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from service.errors import InputMismatch
from service.protocols.inference_v2.core import TensorIn
from service.protocols.inference_v2.tensors import DTYPES, from_raw, from_values, to_raw


def array(tensor: TensorIn) -> np.ndarray[Any, Any]:
    assert isinstance(tensor.data, np.ndarray)
    return tensor.data


@pytest.mark.parametrize("datatype", DTYPES)
def test_flat_nested_and_raw_contents_are_the_same(datatype: str) -> None:
    values = [[True, False, True], [False, False, True]] if datatype == "BOOL" else [[1, 2, 3], [4, 5, 6]]
    expected = np.array(values, DTYPES[datatype])
    flat = [value for row in values for value in row]
    for tensor in (
        from_values("x", datatype, [2, 3], values),
        from_values("x", datatype, [2, 3], flat),
        from_raw("x", datatype, [2, 3], to_raw(expected)),
    ):
        assert tensor.shape == (2, 3) and array(tensor).dtype == expected.dtype
        assert np.array_equal(array(tensor), expected)


@given(arrays.arrays("<f4", arrays.array_shapes(max_dims=3, max_side=4), elements=st.floats(width=32)))
def test_every_float_survives_its_raw_bytes(values: np.ndarray[Any, Any]) -> None:
    assert array(from_raw("x", "FP32", values.shape, to_raw(values))).tobytes() == values.tobytes()


def test_null_is_a_missing_number_and_too_large_a_number_is_infinite() -> None:
    assert np.isnan(array(from_values("x", "FP32", [3], [1, None, 2.5]))).tolist() == [False, True, False]
    assert np.isinf(array(from_values("x", "FP32", [2], [1e300, -1e300]))).all()


def test_raw_contents_are_written_little_endian() -> None:
    assert to_raw(np.array([1.0], ">f4")) == struct.pack("<f", 1.0)


def test_texts_come_raw_or_in_json() -> None:
    raw = b"".join(struct.pack("<I", len(text)) + text for text in (b"", "né".encode()))
    assert from_raw("x", "BYTES", [2], raw).data == from_values("x", "BYTES", [2, 1], [[""], ["né"]]).data


@pytest.mark.parametrize(
    ("datatype", "shape", "values", "message"),
    [
        ("FP32", [2, 2], [1, 2, 3], r"expected 4 values for \[2, 2\], got 3"),
        ("FP32", [2, 3], [[1, 2], [3, 4], [5, 6]], "nested as .* a list of 2 at axis 0, got a list of 3"),
        ("FP32", [2, 2], [[1, 2], 3], "a list of 2 at axis 1, got a value"),
        ("FP32", [1, 2], [[[1], [2]]], r"expected numbers or null for FP32, got a list of 1"),
        ("FP32", [1], [True], "expected numbers or null for FP32, got true"),
        ("FP32", [1], ["1.5"], 'got "1.5"'),
        ("FP32", [1], [10**400], "expected numbers that float32 can hold"),
        ("INT64", [1], [1.0], "expected whole numbers for INT64, got 1.0"),
        ("INT64", [1], [None], "expected whole numbers for INT64, got null"),
        ("UINT8", [1], [256], "expected numbers that uint8 can hold"),
        ("UINT8", [1], [-1], "expected numbers that uint8 can hold"),
        ("BOOL", [1], [1], "expected true or false for BOOL, got 1"),
        ("BYTES", [1], [1], "expected texts for BYTES"),
        ("FLOAT", [1], [1], "expected a datatype of BOOL, .*, BYTES, got 'FLOAT'"),
        ("FP32", [-1], [], r"expected a shape of numbers from 0 on, got \[-1\]"),
        ("FP32", [1] * 9, [1], "expected at most 8 dimensions, got 9"),
        ("FP32", [0, 2**63], [], r"expected a shape of numbers that memory could hold, got \[0, 9223372036854775808\]"),
        ("INT8", [2**31, 0, 2**31], [], "that memory could hold"),
        ("BYTES", [0, 2**62], [], "that memory could hold"),
    ],
)
def test_values_that_do_not_fit_are_refused(datatype: str, shape: list[int], values: list[Any], message: str) -> None:
    with pytest.raises(InputMismatch, match=f"input 'x': .*{message}") as caught:
        from_values("x", datatype, shape, values)
    assert caught.value.parameter == "x"


@pytest.mark.parametrize(
    ("datatype", "shape", "raw", "message"),
    [
        ("FP32", [2], b"\0" * 7, r"expected 8 bytes for FP32 \[2\], got 7"),
        ("BYTES", [1], b"\0\0", "element 0 begins with 2 of the 4 bytes of its length"),
        ("BYTES", [1], b"\x05\0\0\0abc", "element 0 says 5 bytes, 2 of them are not there"),
        ("BYTES", [2], b"\0\0\0\0", "expected 2 elements, got 1"),
        ("FP32", [0, 2**62], b"", "that memory could hold"),
        ("BYTES", [2**63, 0], b"", "that memory could hold"),
    ],
)
def test_raw_contents_that_do_not_fit_are_refused(datatype: str, shape: list[int], raw: bytes, message: str) -> None:
    with pytest.raises(InputMismatch, match=message):
        from_raw("x", datatype, shape, raw)
