from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from service.journal.codec import CodecError, Records


@dataclass(frozen=True, slots=True)
class Answer:
    outputs: dict[str, NDArray[Any]]
    key: str | None
    digest: bytes
    note: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Kept:
    model: str
    first: np.datetime64 | None
    last: Answer | None


KEPT: Records[Kept] = Records(Kept)


def test_a_record_comes_back_equal() -> None:
    answer = Answer(
        {"pit": np.array([0.5, np.nan], np.float32)}, "k", b"\x00\xff", {"finish": "stop", "tokens": [1, 2]}
    )
    record = Kept("pjm-load/3", np.datetime64("2024-07-01T05:30", "m"), answer)
    found = KEPT.decode(KEPT.encode(record))
    assert (found.model, found.first) == (record.model, record.first)
    assert found.last is not None and found.last.note == answer.note and found.last.digest == answer.digest
    assert found.last.outputs["pit"].tobytes() == answer.outputs["pit"].tobytes()
    assert KEPT.decode(KEPT.encode(Kept("m", None, None))) == Kept("m", None, None)


@given(
    arrays.arrays(
        st.sampled_from(["<f4", "<f8", "<i8", "|u1", "|b1", "<U3"]), arrays.array_shapes(min_dims=0, min_side=0)
    )
)
def test_arrays_of_numbers_keep_their_type_shape_and_bits(values: NDArray[Any]) -> None:
    records: Records[Any] = Records()
    if values.dtype.kind == "U":
        with pytest.raises(NotImplementedError, match="arrays of numbers"):
            records.encode(values)
        return
    found = records.decode(records.encode(values))
    assert (found.dtype, found.shape, found.tobytes()) == (values.dtype, values.shape, values.tobytes())


@pytest.mark.parametrize(
    "value", [np.float32(0.1), np.int64(-3), np.bool_(True), np.datetime64("2024", "Y"), np.datetime64("NaT")]
)
def test_single_values_of_numpy_stay_what_they_are(value: Any) -> None:
    records: Records[Any] = Records()
    found = records.decode(records.encode({"value": value}))["value"]
    assert type(found) is type(value) and found.dtype == value.dtype and found.tobytes() == value.tobytes()


def test_views_and_other_byte_orders_keep_their_values() -> None:
    records: Records[Any] = Records()
    for values in (np.arange(12).reshape(3, 4).T, np.arange(5)[::-2], np.arange(4, dtype=">i4")):
        assert np.array_equal(records.decode(records.encode(values)), values)


@given(st.binary(max_size=60))
def test_other_bytes_are_refused_or_read_as_what_they_are(data: bytes) -> None:
    try:
        found = KEPT.decode(data)
    except CodecError:
        return
    assert isinstance(found, Kept)


def test_nothing_that_could_run_is_written_or_read() -> None:
    records: Records[Any] = Records()
    with pytest.raises(NotImplementedError):
        records.encode({"run": print})
    with pytest.raises(NotImplementedError):
        records.encode(np.array([print], object))
    forged = Records[Any]().encode(np.zeros(1)).replace(b"<f8", b"|O8")
    with pytest.raises(CodecError):
        records.decode(forged)
