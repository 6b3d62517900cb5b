"""Features look back only, follow their formulas, and do not depend on the company a series is in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from training.networks.causal_features import (
    causal_features,
    encode_static,
    log_scale_feature,
    logarithm,
    running_statistics,
)
from training.networks.forecaster import CovariateScale, ForecasterSettings, StaticEncoding

PLAIN = ForecasterSettings("GRU", 4, 1, 0.0, (0.1, 0.5, 0.9), lags=(1, 3), decay=0.9)
STATIC = (StaticEncoding("area", 10.0, 2.0), StaticEncoding("kind", categories=("mill", "dam")))
FULL = ForecasterSettings(
    "GRU", 4, 1, 0.0, (0.1, 0.5, 0.9), (1, 3), 0.9, ("hour_of_day",), (CovariateScale("wind", 5.0, 2.0),), STATIC
)
RNG = np.random.default_rng(0)


def series(count: int = 3, length: int = 40) -> np.ndarray:
    values = RNG.normal(100, 10, (count, length)).astype(np.float32)
    values[RNG.random(values.shape) < 0.2] = np.nan
    return values


def test_later_observations_change_nothing_earlier() -> None:
    one, other = series(), series()
    other[:, :25] = one[:, :25]
    before, after = (causal_features(target, None, None, None, PLAIN) for target in (one, other))
    np.testing.assert_array_equal(before.features[:, :26], after.features[:, :26])
    np.testing.assert_array_equal(before.target_z[:, :25], after.target_z[:, :25])
    assert not np.array_equal(before.features[:, 26:], after.features[:, 26:])


def test_statistics_follow_their_recursion() -> None:
    target = series(1)
    weight, mean, deviation = running_statistics(target, 0.9)
    w = m = d = 0.0
    for step, value in enumerate(target[0].tolist()):
        np.testing.assert_allclose([weight[0, step], mean[0, step], deviation[0, step]], [w, m, d], rtol=1e-5)
        if value == value:
            size = abs(value - m) if w else 0.0
            w = 0.9 * w + 1
            d += (size - d) / w
            m += (value - m) / w


def test_first_value_can_not_be_scored_and_sees_nothing() -> None:
    features = causal_features(np.array([[7.0, 8.0]], np.float32), None, None, None, PLAIN)
    assert features.features[0, 0].tolist() == [0, 0, 0, 0, 1]
    assert np.isnan(features.target_z[0, 0]) and not np.isnan(features.target_z[0, 1])


def test_lags_are_those_values_and_missing_ones_are_flagged() -> None:
    target = np.array([[1, 2, np.nan, 4, 5, 6]], np.float32)
    found = causal_features(target, None, None, None, PLAIN)
    in_units = found.mean[..., None] + found.sigma[..., None] * found.features[..., :2]
    observed = found.features[..., 2:4]
    np.testing.assert_allclose(in_units[0, 4], [4, 2], rtol=1e-6)
    assert observed[0, 4].tolist() == [1, 1]
    assert observed[0, 3].tolist() == [0, 1] and found.features[0, 3, 0] == 0
    assert observed[0, 5].tolist() == [1, 0]


def test_features_do_not_depend_on_the_unit_of_measurement() -> None:
    target = series()
    small = causal_features(target, None, None, None, PLAIN)
    large = causal_features(target * np.float32(1024), None, None, None, PLAIN)
    np.testing.assert_array_equal(small.features, large.features)
    np.testing.assert_array_equal(small.target_z, large.target_z)


def test_extreme_values_stay_finite() -> None:
    target = np.array([[0, 0, 1e30, 0, -1e30, 0, 0, 0]], np.float32)
    found = causal_features(target, None, None, None, PLAIN)
    assert np.isfinite(found.features).all() and np.isfinite(found.target_z[:, 1:]).all()


def test_series_together_are_as_alone() -> None:
    target = series()
    together = causal_features(target, None, None, None, PLAIN).features
    for index in range(len(target)):
        alone = causal_features(target[index : index + 1], None, None, None, PLAIN).features
        np.testing.assert_array_equal(together[index], alone[0])


def test_covariates_calendar_and_static_come_last_in_this_order() -> None:
    target = series(2, 5)
    calendar = RNG.normal(size=(5, 2)).astype(np.float32)
    covariates = np.full((2, 5, 1), 9.0, np.float32)
    covariates[1, 3] = np.nan
    static = np.array([[14, 1], [np.nan, -1]], np.float32)
    found = causal_features(target, calendar, covariates, static, FULL).features
    assert found.shape == (2, 5, FULL.feature_count)
    np.testing.assert_array_equal(found[:, :, 5:7], np.broadcast_to(calendar, (2, 5, 2)))
    assert found[0, :, 7].tolist() == [2] * 5 and found[1, 3, 7] == 0
    assert found[0, 2, 8:].tolist() == [2, 0, 1] and found[1, 2, 8:].tolist() == [0, 0, 0]


def test_the_logarithm_of_the_scale_is_standardised_and_kept_from_strange_units() -> None:
    sigma = np.array([1e-30, 1, np.e, np.e**3, 1e12], np.float32)
    np.testing.assert_allclose(log_scale_feature(sigma, (1.0, 2.0)), [-4, -0.5, 0, 1, 4], atol=0.05)


def test_the_logarithm_is_near_to_it_wherever_series_lie() -> None:
    values = np.logspace(-6, 6, 50).astype(np.float32)
    np.testing.assert_allclose(logarithm(values), np.log(values), rtol=0.12, atol=1e-3)
    assert (np.diff(logarithm(np.logspace(-30, 30, 500).astype(np.float32))) > 0).all()


def test_a_scale_that_is_an_input_stands_behind_its_age() -> None:
    target = series()
    plain = causal_features(target, None, None, None, PLAIN)
    with_scale = causal_features(target, None, None, None, replace(PLAIN, log_scale=(0.0, 1.0)))
    place = 2 * len(PLAIN.lags) + 1
    np.testing.assert_array_equal(np.delete(with_scale.features, place, -1), plain.features)
    np.testing.assert_array_equal(with_scale.features[..., place], log_scale_feature(plain.sigma, (0.0, 1.0)))


def test_static_covariates_are_standardised_or_one_hot() -> None:
    encoded = encode_static(np.array([[12, 0], [8, 1]], np.float32), STATIC)
    assert encoded.tolist() == [[1, 1, 0], [-1, 0, 1]]


def test_an_array_that_the_settings_name_must_be_given() -> None:
    with pytest.raises(ValueError, match="calendar: expected an array"):
        causal_features(series(), None, None, None, FULL)
