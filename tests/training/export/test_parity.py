"""Differences of a single bit are found and described."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from training.export.parity import ParityError, require_close, require_same_bits

NAN = np.float32("nan")


def test_a_single_bit_is_found_and_measured() -> None:
    expected = np.array([1, 2, NAN, 4], np.float32)
    got = np.array([1, np.nextafter(np.float32(2), np.float32(3)), NAN, 4], np.float32)
    with pytest.raises(ParityError, match=r"pieces: pit differs in 1 of 4 values, by up to 2.38e-07"):
        require_same_bits("pieces", {"pit": got}, {"pit": expected})


def test_missing_values_equal_missing_values() -> None:
    require_same_bits("pieces", {"pit": np.array([NAN, 1])}, {"pit": np.array([NAN, 1])})


def test_a_value_instead_of_a_missing_one_is_found() -> None:
    with pytest.raises(ParityError, match="differs in 1 of 1 values"):
        require_same_bits("pieces", {"pit": np.array([1.0])}, {"pit": np.array([np.nan])})


@pytest.mark.parametrize("error", [2e-4, -2e-4, np.nan])
def test_errors_past_the_tolerance_and_errors_that_are_no_numbers_are_refused(error: float) -> None:
    with pytest.raises(ParityError, match="quantiles: differs from PyTorch"):
        require_close("quantiles", np.array([0.0, error]))
    assert require_close("quantiles", np.array([0.0, -5e-5])) == 5e-5
