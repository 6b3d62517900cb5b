"""The spread of a forecaster is set by its weights alone."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch

from training.networks.ensemble import AnyForecaster, Ensemble
from training.networks.forecaster import Forecaster, ForecasterSettings
from training.networks.segment_forecaster import SegmentForecaster, SegmentSettings, on_its_own_scale
from training.spread import find_spread, typical_raw, with_spread

SETTINGS = ForecasterSettings("GRU", 4, 1, 0.0, (0.1, 0.3, 0.5, 0.9), (1, 2), 0.9)


def tiny_forecaster() -> Forecaster:
    torch.manual_seed(0)
    return Forecaster(SETTINGS).eval()


def typical_of(network: AnyForecaster, features: torch.Tensor) -> list[torch.Tensor]:
    return typical_raw(network, lambda: network(features, network.initial_state(len(features))))


def gaps(network: AnyForecaster, features: torch.Tensor) -> torch.Tensor:
    quantiles, _ = network(features, network.initial_state(len(features)))
    return torch.diff(quantiles).detach()


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.7])
def test_gaps_are_as_many_times_as_wide(factor: float) -> None:
    torch.manual_seed(1)
    network, features = tiny_forecaster(), 0.1 * torch.randn(3, 20, SETTINGS.feature_count)
    changed = with_spread(network, factor, typical_of(network, features))
    ratio = gaps(changed, features) / gaps(network, features)
    torch.testing.assert_close(ratio, torch.full_like(ratio, factor), rtol=0.02, atol=0)


def test_every_member_is_changed_around_its_own_outputs() -> None:
    torch.manual_seed(1)
    network = Ensemble([tiny_forecaster(), Forecaster(SETTINGS).eval()])
    features = 0.1 * torch.randn(3, 20, SETTINGS.feature_count)
    changed = with_spread(network, 1.5, typical_of(network, features))
    ratio = gaps(changed, features) / gaps(network, features)
    torch.testing.assert_close(ratio, torch.full_like(ratio, 1.5), rtol=0.02, atol=0)


def test_centre_and_original_stay_as_they_are() -> None:
    network, features = tiny_forecaster(), torch.randn(1, 5, SETTINGS.feature_count)
    before, _ = network(features, network.initial_state(1))
    changed = with_spread(network, 0.6, typical_of(network, features))
    after, _ = changed(features, changed.initial_state(1))
    again, _ = network(features, network.initial_state(1))
    torch.testing.assert_close(after[..., 2], before[..., 2])
    assert torch.equal(before, again)


def test_factor_is_found_where_coverage_is_as_wanted() -> None:
    network = tiny_forecaster()
    features = 0.1 * torch.randn(2, 10, SETTINGS.feature_count)
    usual = float(gaps(network, features).mean())
    typical = typical_of(network, features)
    factor, covered = find_spread(
        network, typical, lambda candidate: 0.8 * float(gaps(candidate, features).mean()) / usual / 1.4, 0.8
    )
    assert factor == pytest.approx(1.4, rel=0.03)
    assert covered == pytest.approx(0.8, rel=0.03)


@pytest.mark.parametrize("factor", [0.6, 1.5])
def test_all_horizons_of_a_direct_network_are_changed(factor: float) -> None:
    torch.manual_seed(0)
    network = SegmentForecaster(SegmentSettings(12, 6, 3, 8, 0.0, SETTINGS.quantiles, 3, "last")).eval()
    window = on_its_own_scale(torch.randn(20, 12), "last")
    changed = with_spread(network, factor, typical_raw(network, lambda: network(window)))
    before, after = (torch.diff(one(window)).detach() for one in (network, changed))
    torch.testing.assert_close(after / before, torch.full_like(before, factor), rtol=0.1, atol=0)
