"""A published model's backtest gives the same bits however it is shared out among processes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from training.data.alignment import AlignedSeries
from training.evaluation.published_backtest import backtest_published

MODEL = Path(__file__).parents[3] / "models" / "melbourne-temperature" / "1"


def some_series(count: int) -> AlignedSeries:
    random = np.random.default_rng(0)
    target = (10 + random.normal(size=(count, 120))).astype(np.float32)
    target[:, 100] = np.nan
    begins = np.arange(count)
    for number, begin in enumerate(begins):
        target[number, :begin] = np.nan
    return AlignedSeries(target, begins, random.normal(size=(count, 120, 2)).astype(np.float32))


@pytest.mark.parametrize("count", [1, 9])
def test_several_processes_find_what_one_finds(count: int) -> None:
    series, origins, shares = some_series(count), np.array([60, 67, 74, 95, 102, 109]), list[float]()
    one = backtest_published(MODEL, series, origins, 7, 5)
    two = backtest_published(MODEL, series, origins, 7, 5, jobs=2, advanced=shares.append)
    np.testing.assert_array_equal(one.forecasts.quantiles, two.forecasts.quantiles)
    np.testing.assert_array_equal(one.forecasts.actual, two.forecasts.actual)
    np.testing.assert_array_equal(one.pit, two.pit)
    assert not np.isnan(one.forecasts.quantiles).any() and shares[-1] == 1
