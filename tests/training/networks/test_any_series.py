"""The network begins sensibly, steps through time as it runs over it, and follows the experts it trusts."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402

from training.networks.any_series import AnySeries, AnySeriesSettings  # noqa: E402
from training.networks.expert_features import ExpertSettings  # noqa: E402

SETTINGS = AnySeriesSettings(hidden_size=8, quantiles=(0.1, 0.5, 0.9), experts=ExpertSettings(lags=(2, 3, 6)))
EXPERTS = SETTINGS.experts.experts


def features_of(lie: float, trusted: int) -> Tensor:
    features: Tensor = torch.zeros(1, 1, SETTINGS.experts.feature_count)
    features[..., trusted] = lie
    features[..., EXPERTS + trusted] = 1
    return features


def test_untrained_quantiles_lie_around_the_expert_that_is_trusted() -> None:
    network = AnySeries(SETTINGS)
    torch.nn.init.zeros_(network.head.weight)
    quantiles, _ = network(features_of(3.0, trusted=5), network.initial_state(1))
    low, middle, high = quantiles.flatten().tolist()
    assert middle == pytest.approx(3) and high - middle == pytest.approx(middle - low) == pytest.approx(
        1.2 * 1.2816, 1e-3
    )


def test_running_in_pieces_is_running_over_the_whole() -> None:
    network = AnySeries(SETTINGS)
    features = torch.rand(3, 10, SETTINGS.experts.feature_count)
    whole, after = network(features, network.initial_state(3))
    first, state = network(features[:, :4], network.initial_state(3))
    second, state = network(features[:, 4:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    torch.testing.assert_close(state, after)


def test_every_parameter_has_a_gradient() -> None:
    network = AnySeries(SETTINGS)
    quantiles, _ = network(torch.rand(2, 5, SETTINGS.experts.feature_count), network.initial_state(2))
    quantiles.square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
