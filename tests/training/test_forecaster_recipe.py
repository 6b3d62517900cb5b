"""What is held out has no part in what is learned, scaled or chosen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from service.contract.frequency import Frequency  # noqa: E402
from training import forecaster_recipe  # noqa: E402
from training.ancestral_decoder import PreparedAncestral, prepare_ancestral  # noqa: E402
from training.data.alignment import split_time  # noqa: E402
from training.data.series import SeriesSet  # noqa: E402
from training.direct_decoder import PreparedDirect, prepare_direct  # noqa: E402
from training.direct_settings import DirectSettings  # noqa: E402
from training.errors import TrainingError  # noqa: E402
from training.fit_settings import FitSettings  # noqa: E402
from training.forecaster_recipe import set_spread  # noqa: E402
from training.forecaster_settings import EvaluationSettings, NetworkSettings, SeriesSettings  # noqa: E402
from training.networks.forecaster import Forecaster  # noqa: E402
from training.path_correlation import path_correlation  # noqa: E402
from training.train_forecaster import fit_forecaster  # noqa: E402

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


def prepare(series: SeriesSet, data: SeriesSettings, network: NetworkSettings, horizon: int) -> PreparedAncestral:
    return prepare_ancestral(series, split_time(series, data.validation_length, data.test_length, horizon), network)


def prepared_with_other_values_from(step: int) -> PreparedAncestral:
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


def direct_with_other_values_from(step: int) -> PreparedDirect:
    series = two_series()
    series.target[:, step:] = 1e4
    plain = replace(series, covariate_names=(), covariates=None)
    split = split_time(plain, DATA.validation_length, DATA.test_length, HORIZON)
    small = DirectSettings(context=24, direct_hidden_size=4, direct_steps=3, direct_batch_size=8)
    return prepare_direct(plain, split, NetworkSettings(), small, HORIZON)


def test_the_test_changes_neither_fit_nor_spread_of_a_direct_network(tmp_path: Path) -> None:
    found = []
    for step in (LENGTH, TEST):
        prepared = direct_with_other_values_from(step)
        assert prepared.split.test == TEST
        fitted = fit_forecaster(
            prepared, 1, FitSettings(threads=1), tmp_path / str(step), resume=False, device=torch.device("cpu")
        )
        factor, covered, network = set_spread(fitted.members[0], prepared, EvaluationSettings(horizon=HORIZON), 0)
        found.append((factor, covered, path_correlation(prepared.fell(network)), fitted.results[0].best_validation))
    assert found[0] == found[1]


def test_direct_decoder_refuses_what_it_does_not_look_at() -> None:
    series = two_series()
    split = split_time(series, DATA.validation_length, DATA.test_length, HORIZON)
    with pytest.raises(TrainingError, match="decoder direct: expected series without covariates"):
        prepare_direct(series, split, NetworkSettings(), DirectSettings(), HORIZON)
