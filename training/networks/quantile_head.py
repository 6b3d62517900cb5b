"""The quantile head: increasing quantiles from free numbers, the distribution between and beyond them, and its loss.

The distribution is piecewise linear between the levels and has power tails beyond the outer ones. Everything is
branch-free and uses only operations that onnxruntime computes alike for a row whatever else is in the batch, so
`training.export.quantile_head` can build the same formulas into a graph.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

GAP_SCALE = 0.25
LEAST_GAP = 1e-4
TAIL_POWER = 4
PIT_MARGIN = 2.0**-24


def centre_of(levels: Sequence[float]) -> int:
    """Index of the level nearest to one half: the quantile that is predicted directly."""
    return min(range(len(levels)), key=lambda index: abs(levels[index] - 0.5))


def squareplus(values: Tensor) -> Tensor:
    """Smooth positive part, (x + √(x² + 4)) / 2 (Barron, "Squareplus", 2021)."""
    return (values + torch.sqrt(values * values + 4)) / 2


def quantiles_from_raw(raw: Tensor, levels: Sequence[float]) -> Tensor:
    """Quantiles (…, Q) that increase strictly, from free numbers (…, Q): the centre itself, and gaps around it."""
    centre = centre_of(levels)
    raw = raw.float()  # gaps of 1e-4 would drown in half precision
    gaps = GAP_SCALE * squareplus(raw) + LEAST_GAP
    middle = raw[..., centre : centre + 1]
    above = middle + torch.cumsum(gaps[..., centre + 1 :], -1)
    below = middle - torch.flip(torch.cumsum(torch.flip(gaps[..., :centre], [-1]), -1), [-1])
    return torch.cat([below, middle, above], -1)


def tail_scales(quantiles: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
    """Scale (…) of the lower and of the upper tail; the density is continuous where a tail begins."""
    slopes = torch.diff(quantiles) / torch.diff(levels)
    return TAIL_POWER * slopes[..., 0] * levels[0], TAIL_POWER * slopes[..., -1] * (1 - levels[-1])


def quantile_function(quantiles: Tensor, levels: Sequence[float], uniforms: Tensor) -> Tensor:
    """Values (…) below which the given probabilities (…), strictly inside (0, 1), lie; quantiles (…, Q)."""
    tau = quantiles.new_tensor(levels)
    lower, upper = tail_scales(quantiles, tau)
    share = ((uniforms[..., None] - tau[:-1]) / torch.diff(tau)).clamp(0, 1)
    inside = quantiles[..., 0] + (torch.diff(quantiles) * share).sum(-1)
    below = (tau[0] / torch.minimum(uniforms, tau[0])).sqrt().sqrt() - 1
    above = ((1 - tau[-1]) / torch.minimum(1 - uniforms, 1 - tau[-1])).sqrt().sqrt() - 1
    return inside - lower * below + upper * above


def pit(quantiles: Tensor, levels: Sequence[float], values: Tensor) -> Tensor:
    """Probability integral transform: how much of the distribution lies below the values (…), inside (0, 1)."""
    tau = quantiles.new_tensor(levels)
    lower, upper = tail_scales(quantiles, tau)
    share = ((values[..., None] - quantiles[..., :-1]) / torch.diff(quantiles)).clamp(0, 1)
    inside = (torch.diff(tau) * share).sum(-1)
    below = (1 + (quantiles[..., 0] - values).clamp(min=0) / lower) ** -TAIL_POWER
    above = (1 + (values - quantiles[..., -1]).clamp(min=0) / upper) ** -TAIL_POWER
    probability = tau[0] * below + inside + (1 - tau[-1]) * (1 - above)
    return probability.clamp(PIT_MARGIN, 1 - PIT_MARGIN)


def quantile_loss(quantiles: Tensor, target: Tensor, levels: Sequence[float]) -> Tensor:
    """Mean quantile (pinball) loss over levels and observed targets; quantiles (…, Q), target (…) NaN where not scored.

    Its average over all levels is half the continuous ranked probability score (Gneiting and Raftery, 2007).
    Zero, and still differentiable, where nothing is observed.
    """
    tau = quantiles.new_tensor(levels)
    scored = ~torch.isnan(target)
    error = torch.where(scored, target, 0)[..., None] - quantiles
    loss = torch.maximum(tau * error, (tau - 1) * error).mean(-1)
    return torch.where(scored, loss, 0).sum() / scored.sum().clamp(min=1)
