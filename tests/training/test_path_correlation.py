"""The correlation of neighbouring steps' errors is found again in forecasts that were made with it."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from service.contract.quantile_function import path_probabilities
from training.path_correlation import MOST, path_correlation


@pytest.mark.parametrize("correlation", [0.0, 0.4, 0.9])
def test_correlation_of_sample_paths_is_found(correlation: float) -> None:
    fell = path_probabilities(np.random.default_rng(0).uniform(size=(4000, 12)), correlation)
    fell[::7, 3] = np.nan
    assert path_correlation(fell) == pytest.approx(correlation, abs=0.02)


def test_errors_that_alternate_are_taken_as_apart_and_equal_ones_as_nearly_one() -> None:
    draws = np.random.default_rng(0).uniform(size=(500, 1))
    assert path_correlation(np.concatenate([draws, 1 - draws], 1)) == 0.0
    assert path_correlation(np.concatenate([draws, draws], 1)) == MOST


def test_nothing_to_measure_is_no_correlation() -> None:
    assert path_correlation(np.full((5, 4), np.nan)) == 0.0
    assert path_correlation(np.full((5, 1), 0.5)) == 0.0
