"""Several forecasters as one: the mean of their quantiles, with a state for each."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from training.networks.decoders import parts_of, together  # noqa: E402
from training.networks.ensemble import Ensemble  # noqa: E402
from training.networks.forecaster import Forecaster, ForecasterSettings  # noqa: E402

SETTINGS = ForecasterSettings("LSTM", 4, 2, 0.0, (0.1, 0.5, 0.9), (1, 2), 0.9)


def two() -> list[Forecaster]:
    torch.manual_seed(0)
    return [Forecaster(SETTINGS).eval() for _ in range(2)]


def test_quantiles_are_the_mean_of_the_members_level_by_level() -> None:
    first, second = two()
    features = torch.randn(3, 7, SETTINGS.feature_count)
    network = Ensemble([first, second])
    quantiles, _ = network(features, network.initial_state(3))
    own = [member(features, member.initial_state(3))[0] for member in (first, second)]
    torch.testing.assert_close(quantiles, (own[0] + own[1]) / 2)


def test_stream_in_pieces_is_the_whole() -> None:
    network = Ensemble(two())
    features = torch.randn(2, 8, SETTINGS.feature_count)
    whole, _ = network(features, network.initial_state(2))
    first, state = network(features[:, :5], network.initial_state(2))
    rest, _ = network(features[:, 5:], state)
    torch.testing.assert_close(torch.cat([first, rest], 1), whole)


def test_one_alone_is_itself() -> None:
    first, second = two()
    assert together([first]) is first
    assert parts_of(first) == [first]
    assert parts_of(together([first, second])) == [first, second]


def test_members_of_other_settings_are_refused() -> None:
    other = Forecaster(ForecasterSettings("GRU", 4, 2, 0.0, (0.1, 0.5, 0.9), (1, 2), 0.9))
    with pytest.raises(ValueError, match="of the same settings"):
        Ensemble([two()[0], other])
