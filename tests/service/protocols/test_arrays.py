"""Wire values to arrays and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InputMismatch
from service.protocols.answering import to_json
from service.protocols.arrays import float_array, rows_or_null, timestamps


def test_null_becomes_nan() -> None:
    np.testing.assert_array_equal(float_array([1, None, 2.5], "values"), np.array([1, np.nan, 2.5], np.float32))


@pytest.mark.parametrize("large", [1e39, -1e39, 3.4e38, -2e36])
def test_what_float32_cannot_compute_with_is_named(large: float) -> None:
    with pytest.raises(InputMismatch) as caught:
        float_array([0, large], "values")
    assert caught.value.parameter == "values.1"


@given(st.lists(st.floats(-(2.0**119), 2.0**119, width=32) | st.none()))
def test_float32_goes_over_the_wire_and_back_bit_for_bit(values: list[float | None]) -> None:
    array = float_array(values, "values")
    text = to_json(array)
    again = float_array(eval(text.decode(), {"null": None}), "values")
    assert array.tobytes() == again.tobytes()


def test_steps_without_a_prediction_are_null() -> None:
    quantiles = np.array([[np.nan, np.nan], [1, 2]], np.float32)
    assert rows_or_null(quantiles) == [None, [1.0, 2.0]]


@pytest.mark.parametrize("text", ["soon", "", "2024-13-01", "2024-01-01T00:00:00.5", "0000-01-01"])
def test_a_bad_timestamp_is_named_with_its_place(text: str) -> None:
    with pytest.raises(InputMismatch) as caught:
        timestamps(["2024-01-01", text], "timestamps")
    assert caught.value.parameter == "timestamps.1" and caught.value.message.startswith("timestamps.1: expected")
