"""What is held out has no part in what is learned, scaled or chosen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from service.contract.frequency import Frequency  # noqa: E402
from training import forecaster_recipe  # noqa: E402
from training.data.series import SeriesSet  # noqa: E402
from training.errors import TrainingError  # noqa: E402
from training.forecaster_recipe import Prepared, prepare, set_spread  # noqa: E402
from training.forecaster_settings import EvaluationSettings, NetworkSettings, SeriesSettings  # noqa: E402
from training.networks.forecaster import Forecaster  # noqa: E402

LENGTH, HORIZON = 200, 6
DATA = SeriesSettings(covariates="price", validation_length="24", test_length="36")
VALIDATION, TEST = LENGTH - 60, LENGTH - 36


def two_series() -> SeriesSet:
    random = np.random.default_rng(0)
    return SeriesSet(
        name="file.csv",
        sha256="0" * 64,
        ids=("a", "b"),
        frequency=Frequency.parse("1h"),
        first=np.datetime64("2024-01-01T00:00:00"),
        target=(50 + random.normal(size=(2, LENGTH))).astype(np.float32),
        covariate_names=("price",),
        covariates=random.normal(size=(2, LENGTH, 1)).astype(np.float32),
    )


def prepared_with_other_values_from(step: int) -> Prepared:
    series = two_series()
    assert series.covariates is not None
    series.target[:, step:] = 1e4
    series.covariates[:, step:] = -99
    return prepare(series, DATA, NetworkSettings(hidden_size=4), HORIZON)


def test_the_test_changes_neither_settings_nor_features_before_it() -> None:
    usual, other = prepared_with_other_values_from(LENGTH), prepared_with_other_values_from(TEST)
    assert (usual.split.validation, usual.split.test) == (VALIDATION, TEST)
    assert usual.settings == other.settings
    np.testing.assert_array_equal(usual.features.features[:, :TEST], other.features.features[:, :TEST])
    np.testing.assert_array_equal(usual.features.target_z[:, :TEST], other.features.target_z[:, :TEST])


def test_covariates_are_scaled_by_what_comes_before_validation() -> None:
    assert (
        prepared_with_other_values_from(LENGTH).settings.covariates
        == prepared_with_other_values_from(VALIDATION).settings.covariates
    )


def test_the_test_does_not_change_the_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecaster_recipe, "SPREAD_PATHS", 10)
    found = []
    for step in (LENGTH, TEST):
        prepared = prepared_with_other_values_from(step)
        torch.manual_seed(0)
        network = Forecaster(prepared.settings).eval()
        factor, covered, _ = set_spread(network, prepared, EvaluationSettings(horizon=HORIZON), 0)
        found.append((factor, covered))
    assert found[0] == found[1]
    assert found[0][0] != 1


def test_one_short_series_does_not_shorten_the_lags_of_all() -> None:
    series = two_series()
    long = np.concatenate([series.target, series.target[:1]])
    long[2, : LENGTH - 80] = np.nan
    three = replace(series, ids=("a", "b", "c"), target=long, covariate_names=(), covariates=None)
    lags = prepare(three, replace(DATA, covariates=""), NetworkSettings(), HORIZON).settings.lags
    assert max(lags) == 25  # a third of the 140 steps that most have, not of 20


def test_lags_that_reach_beyond_all_training_data_are_refused() -> None:
    with pytest.raises(TrainingError, match="lags: expected them to reach back less than the 140 steps.*got 140"):
        prepare(two_series(), DATA, NetworkSettings(lags="1,140"), HORIZON)
