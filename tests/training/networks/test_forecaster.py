"""The forecaster begins at a sensible distribution and steps through time as it runs over it."""

from __future__ import annotations

from statistics import NormalDist

import pytest

torch = pytest.importorskip("torch")

from training.networks.forecaster import Forecaster, ForecasterSettings  # noqa: E402

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
SETTINGS = ForecasterSettings("LSTM", 8, 2, 0.0, LEVELS, lags=(1, 2, 24), decay=0.99)


def test_untrained_gaps_between_quantiles_are_those_of_a_normal_distribution() -> None:
    network = Forecaster(SETTINGS)
    torch.nn.init.zeros_(network.head.weight)
    quantiles, _ = network(torch.zeros(1, 1, SETTINGS.feature_count), network.recurrence.initial_state(1))
    expected = torch.tensor([NormalDist().inv_cdf(level) for level in LEVELS])
    torch.testing.assert_close(quantiles[0, 0], expected, atol=1e-6, rtol=1e-5)


def test_running_in_pieces_is_running_over_the_whole() -> None:
    network = Forecaster(SETTINGS)
    features = torch.randn(3, 10, SETTINGS.feature_count)
    whole, after = network(features, network.recurrence.initial_state(3))
    first, state = network(features[:, :4], network.recurrence.initial_state(3))
    second, state = network(features[:, 4:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    torch.testing.assert_close(state, after)


def test_every_parameter_has_a_gradient() -> None:
    network = Forecaster(SETTINGS)
    quantiles, _ = network(torch.randn(2, 5, SETTINGS.feature_count), network.recurrence.initial_state(2))
    quantiles.square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_quantiles_are_float32_under_mixed_precision() -> None:
    network = Forecaster(SETTINGS)
    with torch.autocast("cpu", torch.bfloat16):
        quantiles, _ = network(torch.randn(2, 5, SETTINGS.feature_count), network.recurrence.initial_state(2))
    assert quantiles.dtype == torch.float32
