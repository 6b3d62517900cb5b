"""Quantiles increase, the distribution and its transform are inverse to each other, and the loss is its definition."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402

from training.networks.quantile_head import (  # noqa: E402
    PIT_MARGIN,
    centre_of,
    pit,
    quantile_function,
    quantile_loss,
    quantiles_from_raw,
)

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


def quantiles(*shape: int, spread: float = 1.0) -> Tensor:
    raw = torch.randn(*shape, len(LEVELS), generator=torch.Generator().manual_seed(0))
    return quantiles_from_raw(raw * spread, LEVELS)


def test_quantiles_increase_strictly_however_wild_the_raw_outputs() -> None:
    assert (torch.diff(quantiles(200, 3, spread=10.0)) > 0).all()


def test_centre_is_the_raw_output_itself() -> None:
    raw = torch.tensor([9.0, -9.0, 0.25, 3.0, 1.0])
    assert quantiles_from_raw(raw, LEVELS)[2] == 0.25
    assert centre_of((0.1, 0.2, 0.6)) == 2


@pytest.mark.parametrize("index", range(len(LEVELS)))
def test_quantile_function_at_a_level_is_that_quantile(index: int) -> None:
    q = quantiles(20)
    torch.testing.assert_close(quantile_function(q, LEVELS, torch.full((20,), LEVELS[index])), q[:, index])


def test_pit_inverts_the_quantile_function_far_into_the_tails() -> None:
    uniforms = torch.tensor([1e-6, 1e-3, 0.01, 0.05, 0.1, 0.4, 0.6, 0.94, 0.97, 0.999, 1 - 1e-6])
    q = quantiles(20, 1)
    values = quantile_function(q, LEVELS, uniforms.expand(20, -1))
    torch.testing.assert_close(pit(q, LEVELS, values), uniforms.expand(20, -1), atol=2e-6, rtol=1e-3)


def test_quantile_function_increases() -> None:
    uniforms = torch.linspace(0.001, 0.999, 999)
    assert (torch.diff(quantile_function(quantiles(1), LEVELS, uniforms)) > 0).all()


def test_density_is_continuous_where_a_tail_begins() -> None:
    q = quantiles(1).double()
    step = 1e-5
    at = torch.tensor([LEVELS[0] - step, LEVELS[0], LEVELS[0] + step], dtype=torch.float64)
    below, above = torch.diff(quantile_function(q, LEVELS, at))
    torch.testing.assert_close(below, above, rtol=1e-3, atol=0.0)


def test_pit_of_any_value_lies_strictly_inside_the_unit_interval() -> None:
    far = pit(quantiles(1), LEVELS, torch.tensor([-1e30, 1e30]))
    assert far.tolist() == [PIT_MARGIN, 1 - PIT_MARGIN]


def test_quantile_loss_is_its_definition_over_observed_values() -> None:
    q, target = quantiles(4, 3), torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    target[0, 1] = target[3, 2] = torch.nan
    losses = [
        level * (y - x) if y >= x else (1 - level) * (x - y)
        for row, y in zip(q.view(12, 5).tolist(), target.view(12).tolist(), strict=True)
        if y == y
        for level, x in zip(LEVELS, row, strict=True)
    ]
    assert quantile_loss(q, target, LEVELS).item() == pytest.approx(sum(losses) / len(losses))


def test_loss_of_nothing_observed_is_zero_and_harms_no_gradient() -> None:
    raw = torch.zeros(2, 3, len(LEVELS), requires_grad=True)
    loss = quantile_loss(quantiles_from_raw(raw, LEVELS), torch.full((2, 3), torch.nan), LEVELS)
    (gradient,) = torch.autograd.grad(loss, raw)
    assert loss.item() == 0 and (gradient == 0).all()
