"""Baselines go by their names, and forecast what the name says."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from training.data.alignment import AlignedSeries
from training.errors import TrainingError
from training.evaluation.baselines import seasonal_naive
from training.evaluation.contenders import Task, baseline_forecasts, default_baselines, is_baseline
from training.evaluation.metrics import MEASURED_LEVELS

TARGET = (np.tile([1, 5, 3, 9], 20) + np.arange(80) / 8).astype(np.float32)[None]
TASK = Task(AlignedSeries(TARGET, np.array([0])), np.array([60, 70]), 6, (4, 8))


def test_names_of_baselines() -> None:
    for name in ("naive", "drift", "naive_2", "naive_2_24", "seasonal_naive", "seasonal_naive_168", "AutoETS"):
        assert is_baseline(name)
    for name in ("models/pjm-load/1", "naive_24", "seasonal_naive_0", "seasonal_naive_x", "autoets", "drift_1"):
        assert not is_baseline(name)


def test_seasonal_baselines_take_the_usual_season_or_the_one_in_the_name() -> None:
    for name, season in (("seasonal_naive", 4), ("seasonal_naive_8", 8), ("naive", 1)):
        told = baseline_forecasts(name, TASK)
        expected = seasonal_naive(TARGET, TASK.origins, 6, season)
        np.testing.assert_array_equal(told.forecasts.quantiles, expected.quantiles)
    assert "8 steps" in baseline_forecasts("seasonal_naive_8", TASK).how


@pytest.mark.parametrize("name", ["drift", "naive_2", "naive_2_8"])
def test_all_have_the_quantiles_that_metrics_take(name: str) -> None:
    told = baseline_forecasts(name, TASK)
    assert told.forecasts.levels == MEASURED_LEVELS and told.pit is None
    assert told.forecasts.quantiles.shape == (1, 2, 6, len(MEASURED_LEVELS))


def test_statistical_models_say_what_they_were_fitted_to() -> None:
    pytest.importorskip("statsforecast")
    told = baseline_forecasts("AutoTheta", TASK)
    assert told.how == "statsforecast, season 4, fitted at the first origin to the last 1000 values"
    assert np.abs(told.forecasts.at(0.5) - told.forecasts.actual).mean() < 2


def test_unknown_name_is_told_the_known_ones() -> None:
    with pytest.raises(TrainingError, match="prophet: expected the folder .* or a baseline: naive, drift, .*AutoTheta"):
        baseline_forecasts("prophet", TASK)


def test_a_season_of_one_step_is_the_naive_forecast_and_not_named_twice() -> None:
    assert default_baselines((24, 168)) == ("seasonal_naive_24", "seasonal_naive_168", "naive", "drift")
    assert default_baselines((1,)) == ("naive", "drift")
