"""Binary frames: what is written is read again, and every kind of half frame is named."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import BadRequest, InputMismatch, UnrollError
from service.protocols.native.frames import HEADER, number_of, packed, read_observe, write_packed


def frame(
    steps: list[list[float]],
    *,
    magic: bytes = b"UN",
    version: int = 1,
    operation: int = 1,
    flags: int = 0,
    position: int = -1,
) -> bytes:
    values = np.array(steps, "<f4")
    return HEADER.pack(magic, version, operation, *values.shape, flags, 77, position, 0) + values.tobytes()


def test_the_header_has_the_documented_size() -> None:
    assert HEADER.size == 32


def test_a_frame_is_read() -> None:
    read = read_observe(frame([[1, 10], [np.nan, 20]], position=5))
    assert read.position == 5 and read.number == 77
    np.testing.assert_array_equal(read.steps, np.array([[1, 10], [np.nan, 20]], np.float32))


def test_a_negative_position_means_none() -> None:
    assert read_observe(frame([[1]])).position is None


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (b"", "expected at least the header's 32 bytes, got 0"),
        (frame([[1]])[:31], "expected at least the header's 32 bytes, got 31"),
        (frame([[1]])[:-1], "expected 36 bytes for 1 steps of 1 numbers, got 35"),
        (frame([[1]]) + b"\0", "expected 36 bytes for 1 steps of 1 numbers, got 37"),
        (frame([[1]], magic=b"XX"), "got 58 58 and 1"),
        (frame([[1]], version=9), "(UN) and version 1, got 55 4e and 9"),
        (frame([[1]], operation=3), "expected operation 1"),
        (frame([[1]], flags=1), "flags 0 or 4 (scores) and bytes 24–31 zero, got 1, 1 and 0"),
        (frame([[1]], flags=12), "got 1, 12 and 0"),
        (frame([[1]], position=-2), "expected a position, or −1 for none, got -2"),
        (HEADER.pack(b"UN", 1, 1, 0, 1, 0, 0, -1, 0), "at least one step of one number"),
    ],
)
def test_a_broken_frame_is_named(broken: bytes, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read_observe(broken)
    assert message in caught.value.message


@pytest.mark.parametrize("beyond", [np.inf, -np.inf, np.finfo(np.float32).max, -2e36])
def test_a_number_beyond_what_can_be_computed_with_is_refused_with_its_place(beyond: float) -> None:
    with pytest.raises(InputMismatch, match="step 1, column 0"):
        read_observe(frame([[1], [beyond]]))


def test_the_number_of_a_broken_frame_is_found() -> None:
    assert number_of(frame([[1]])[:20]) == 77
    assert number_of(b"UN") is None


def test_an_answer_holds_quantiles_and_pit_of_each_step() -> None:
    quantiles = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    pit = np.array([0.5, np.nan], np.float32)
    answer = write_packed(packed(quantiles, pit), position=9, durable_position=8, repeated=True, number=77)
    assert HEADER.unpack_from(answer) == (b"UN", 1, 129, 2, 4, 1, 77, 9, 8)
    rows = np.frombuffer(answer, "<f4", offset=32).reshape(2, 4)
    np.testing.assert_array_equal(rows, np.column_stack((quantiles, pit)))


def test_scores_are_told_to_whom_asks_for_them() -> None:
    assert [read_observe(frame([[1]], flags=flags)).wants_scores for flags in (0, 4)] == [False, True]
    quantiles, pit, scores = np.ones((1, 3), np.float32), np.zeros(1, np.float32), np.full(1, 0.75, np.float32)
    steps = packed(quantiles, pit, scores)
    answer = write_packed(steps, position=1, durable_position=0, number=1, scored=True, anomaly=True)
    assert HEADER.unpack_from(answer)[3:6] == (1, 5, 4 | 8)
    assert np.frombuffer(answer, "<f4", offset=32).tolist() == [1, 1, 1, 0, 0.75]


def test_the_layout_stays_as_it_was_for_whom_does_not() -> None:
    quantiles, pit = np.ones((1, 3), np.float32), np.zeros(1, np.float32)
    answer = write_packed(packed(quantiles, pit), position=1, durable_position=0, number=1, anomaly=True)
    assert HEADER.unpack_from(answer)[3:6] == (1, 4, 8) and len(answer) == 32 + 16


@given(st.binary(max_size=100) | st.binary(max_size=80).map(lambda tail: frame([[1]])[:16] + tail))
def test_whatever_comes_is_read_or_refused(data: bytes) -> None:
    try:
        read_observe(data)
    except UnrollError as error:
        assert error.status in (400, 422)
