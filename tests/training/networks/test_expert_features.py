"""Experts look back only, know their season when told, and give a sensible scale from the first value on."""

from __future__ import annotations

import numpy as np
import pytest

from training.networks.expert_features import Array, ExpertSettings, expert_features

SETTINGS = ExpertSettings(lags=(2, 3, 6), warm=3.0)
LEVELS_AND_LAST = 4
RNG = np.random.default_rng(0)


def waves(count: int = 3, length: int = 60, period: int = 6) -> Array:
    steps = np.arange(length)
    values = 50 + 10 * np.sin(2 * np.pi * steps / period) + 0.1 * RNG.standard_normal((count, length))
    return values.astype(np.float32)


def test_there_are_as_many_features_as_the_settings_say() -> None:
    found = expert_features(waves(), SETTINGS)
    assert (SETTINGS.repeated(2), SETTINGS.repeated(3)) == ((2, 3), (2,)) and SETTINGS.experts == 4 + 3 + 2 + 1 + 1
    assert found.features.shape == (3, 60, SETTINGS.feature_count)
    assert np.isfinite(found.features).all()


def test_later_observations_change_nothing_earlier() -> None:
    one, other = waves(), waves()
    other[:, :40] = one[:, :40]
    before, after = (expert_features(target, SETTINGS) for target in (one, other))
    np.testing.assert_array_equal(before.features[:, :41], after.features[:, :41])
    np.testing.assert_array_equal(before.sigma[:, :41], after.sigma[:, :41])


def test_series_together_are_as_alone() -> None:
    target = waves()
    target[1, 10:20] = np.nan
    together = expert_features(target, SETTINGS)
    alone = expert_features(target[1:2], SETTINGS)
    np.testing.assert_array_equal(together.features[1:2], alone.features)


def test_the_expert_of_the_right_lag_comes_to_be_trusted_and_the_centre_follows_it() -> None:
    target = waves(1, 200)
    found = expert_features(target, SETTINGS)
    trust = found.features[0, -1, SETTINGS.experts : 2 * SETTINGS.experts]
    of_six = [LEVELS_AND_LAST + 2, LEVELS_AND_LAST + 4, LEVELS_AND_LAST + 5]  # 6, twice 3, thrice 2
    assert trust.argmax() == LEVELS_AND_LAST + 2 and (np.delete(trust, of_six) < 0.2).all()
    assert np.abs(found.centre - target)[0, -50:].max() < 1


@pytest.mark.parametrize("told", [np.nan, 0, -3, 1e12])
def test_a_season_that_was_not_told_or_cannot_be_used_changes_nothing(told: float) -> None:
    target = waves()
    silent = expert_features(target, SETTINGS)
    found = expert_features(target, SETTINGS, np.full(3, told, np.float32))
    np.testing.assert_array_equal(found.features, silent.features)


def test_a_season_that_was_told_is_an_expert_of_its_own() -> None:
    target = waves(1, 200, period=5)  # no lag of the settings
    silent, told = (expert_features(target, SETTINGS, season) for season in (None, np.array([5], np.float32)))
    errors = [np.abs(found.centre - target)[0, -50:].mean() for found in (silent, told)]
    assert errors[1] < errors[0] / 5


def test_the_scale_is_wide_after_the_first_value_and_narrows() -> None:
    sigma = expert_features(np.full((1, 40), 8.0, np.float32), SETTINGS).sigma[0]
    assert sigma[1] > 1 and (np.diff(sigma[1:]) < 0).all() and sigma[-1] < 0.05


def test_the_first_value_can_not_be_scored_and_missing_ones_are_not() -> None:
    target = np.array([[np.nan, 5, 6, np.nan, 7]], np.float32)
    found = expert_features(target, SETTINGS)
    for values in (found.target_z, found.z, found.beyond):
        assert np.isnan(values[0, [0, 1, 3]]).all() and np.isfinite(values[0, [2, 4]]).all()


def test_a_value_outside_of_those_before_is_told_by_how_much_and_the_range_draws_in() -> None:
    target = np.array([[5, 6, 5, 6, 5, 6, 9, 8, 5]], np.float32)
    found = expert_features(target, SETTINGS)
    assert found.beyond[0, 6] * found.sigma[0, 6] == pytest.approx(3, rel=0.01)
    assert (found.beyond[0, [2, 3, 4, 5, 7, 8]] < 1e-3).all()  # the range draws in by a little at every step
    shrinking = expert_features(np.full((1, 40), 5, np.float32) + target[0, 6:7] * (np.arange(40) == 3), SETTINGS)
    highest = shrinking.features[0, :, -2] * shrinking.sigma[0] + shrinking.centre[0]
    assert (np.diff(highest[10:]) < 0).all()


def test_one_outlier_does_not_spoil_what_is_known_of_a_stream() -> None:
    target = waves(1, 200)
    target[0, 100] = 1e9
    plain, struck = (expert_features(values, SETTINGS) for values in (waves(1, 200), target))
    assert struck.sigma[0, -1] < 10 * plain.sigma[0, -1]


def test_lags_come_in_order() -> None:
    with pytest.raises(ValueError, match="in increasing order"):
        ExpertSettings(lags=(3, 2))


def test_the_unit_of_measurement_does_not_matter() -> None:
    target = waves()
    small, large = (expert_features(target * np.float32(2.0**power), SETTINGS) for power in (-40, 40))
    np.testing.assert_array_equal(small.features, large.features)
