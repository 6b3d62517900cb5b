"""What quantiles stand for: the same in numpy as what networks are trained on, and what paths of it say."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from service.contract.normal import normal_score
from service.contract.quantile_function import (
    MARGIN,
    TAIL_POWER,
    mean_of,
    path_probabilities,
    probability_below,
    quantile_function,
)

LEVELS = (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98)
UNIFORMS = np.array([MARGIN, 1e-4, 0.02, 0.05, 0.3, 0.41, 0.5, 0.77, 0.98, 0.9999, 1 - MARGIN])


def distributions(*shape: int) -> NDArray[np.float32]:
    gaps = np.random.default_rng(0).gamma(1, 2, (*shape, len(LEVELS)))
    return (np.cumsum(gaps, -1) - 5).astype(np.float32)


def test_values_are_those_of_the_network_head() -> None:
    torch = pytest.importorskip("torch")
    head = pytest.importorskip("training.networks.quantile_head")
    known = distributions(20, 1)
    expected = head.quantile_function(
        torch.tensor(known, dtype=torch.float64), LEVELS, torch.tensor(np.tile(UNIFORMS, (20, 1)))
    )
    assert quantile_function(known, LEVELS, UNIFORMS) == pytest.approx(expected.numpy(), rel=1e-9)
    assert head.TAIL_POWER == TAIL_POWER and head.PIT_MARGIN == MARGIN


def test_probabilities_are_those_of_the_network_head() -> None:
    torch = pytest.importorskip("torch")
    head = pytest.importorskip("training.networks.quantile_head")
    known, values = distributions(30), np.linspace(-40, 60, 30)
    expected = head.pit(torch.tensor(known, dtype=torch.float64), LEVELS, torch.tensor(values))
    assert probability_below(known, LEVELS, values) == pytest.approx(expected.numpy(), rel=1e-9)


def test_at_a_level_the_value_is_that_quantile_exactly() -> None:
    known = distributions(50)
    for index, level in enumerate(LEVELS):
        assert (quantile_function(known, LEVELS, level).astype(np.float32) == known[:, index]).all()


def test_values_increase_with_probability() -> None:
    probabilities = np.linspace(0.001, 0.999, 999)[:, np.newaxis]
    assert (np.diff(quantile_function(distributions(8), LEVELS, probabilities), axis=0) >= 0).all()


def test_probabilities_invert_values() -> None:
    known = distributions(20, 1)
    values = quantile_function(known, LEVELS, UNIFORMS)
    assert probability_below(known, LEVELS, values) == pytest.approx(np.tile(UNIFORMS, (20, 1)), rel=1e-6)


def test_the_mean_is_that_of_many_draws() -> None:
    known = distributions(5)
    middle_of_each = (np.arange(1_000_000) + 0.5) / 1_000_000
    drawn = quantile_function(known[:, np.newaxis], LEVELS, middle_of_each).mean(-1)
    assert mean_of(known, LEVELS) == pytest.approx(drawn, rel=1e-4)


def test_a_part_gives_the_bits_of_the_whole() -> None:
    known, uniforms = distributions(6), np.random.default_rng(1).random((40, 6))
    whole = quantile_function(known, LEVELS, path_probabilities(uniforms, 0.7))
    for steps in (1, 2, 5):
        part = quantile_function(known[:steps], LEVELS, path_probabilities(uniforms[:3, :steps], 0.7))
        assert (part == whole[:3, :steps]).all()


@pytest.mark.parametrize("correlation", [0.0, 0.6, 0.95])
def test_every_step_of_the_paths_is_uniform_and_neighbours_go_together(correlation: float) -> None:
    uniforms = np.clip(np.random.default_rng(2).random((20_000, 5)), MARGIN, 1 - MARGIN)
    paths = path_probabilities(uniforms, correlation)
    assert np.quantile(paths, [0.1, 0.5, 0.9], axis=0) == pytest.approx(
        np.repeat([[0.1], [0.5], [0.9]], 5, 1), abs=0.02
    )
    scores = normal_score(paths)
    for step in range(4):
        assert np.corrcoef(scores[:, step], scores[:, step + 1])[0, 1] == pytest.approx(correlation, abs=0.02)


def test_nothing_known_gives_nothing() -> None:
    unseen = np.full((3, len(LEVELS)), np.nan, np.float32)
    assert np.isnan(quantile_function(unseen, LEVELS, 0.4)).all() and np.isnan(mean_of(unseen, LEVELS)).all()
    assert np.isnan(probability_below(unseen, LEVELS, np.zeros(3))).all()


def test_a_distribution_of_one_value_is_that_value() -> None:
    constant = np.full((2, len(LEVELS)), 7.0)
    assert (quantile_function(constant, LEVELS, [0.001, 0.999]) == 7).all()
    assert probability_below(constant, LEVELS, [6.0, 8.0]) == pytest.approx([MARGIN, 1 - MARGIN])
