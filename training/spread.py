"""Sets how wide a trained forecaster's distributions are, so that its intervals cover what they promise.

Quantiles one step ahead are calibrated by their loss, but free-running forecasts add up many steps, and a network
that was stopped early is often too wide. One factor on all gaps between quantiles, found on validation data and
folded into the weights of the head, sets this right; the graphs stay as they are.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor

from training.networks.forecaster import Forecaster
from training.networks.quantile_head import centre_of, squareplus

NARROWEST, WIDEST = 0.4, 2.5
BISECTIONS = 7


def find_spread(
    network: Forecaster,
    typical: Tensor,
    coverage_of: Callable[[Forecaster], float],
    wanted: float,
    advanced: Callable[[float], None] = lambda share: None,
) -> tuple[float, float]:
    """The factor at which the coverage is as wanted, or the nearest to it in reach, and the coverage there.

    Args:
        typical: raw outputs of the head (Q,) around which the factor is to be exact.
        coverage_of: coverage of a network's intervals on validation data.
    """
    low, high = NARROWEST, WIDEST
    factor, found = 1.0, coverage_of(network)
    if math.isnan(found):  # nothing was observed to go by
        return factor, found
    for done in range(BISECTIONS):
        advanced((done + 1) / (BISECTIONS + 1))
        if found < wanted:
            low = factor
        else:
            high = factor
        factor = (low * high) ** 0.5
        found = coverage_of(with_spread(network, factor, typical))
    return factor, found


@torch.no_grad()
def with_spread(network: Forecaster, factor: float, typical: Tensor) -> Forecaster:
    """A copy whose gaps between quantiles are `factor` times as wide, to first order around `typical` (Q,).

    Each gap is a squareplus of a linear function; the line's scale and shift that multiply the squareplus and its
    slope by `factor` at the typical value go into the weights.
    """
    changed = copy.deepcopy(network)
    wanted = factor * squareplus(typical.double())
    moved = wanted - 1 / wanted  # the inverse of squareplus
    scale = factor * _slope(typical.double()) / _slope(moved)
    shift = moved - scale * typical
    centre = centre_of(network.settings.quantiles)
    scale[centre], shift[centre] = 1, 0
    changed.head.weight.mul_(scale[:, None].to(changed.head.weight))
    changed.head.bias.copy_((changed.head.bias * scale + shift).to(changed.head.bias))
    return changed


def _slope(values: Tensor) -> Tensor:
    """The derivative of squareplus."""
    slope: Tensor = (1 + values / torch.sqrt(values * values + 4)) / 2
    return slope


@torch.no_grad()
def typical_raw(network: Forecaster, features: Tensor) -> Tensor:
    """Median raw outputs (Q,) of the head over features (B, T, F)."""
    device = next(network.parameters()).device
    features = features.to(device)
    outputs, _ = network.recurrence(features, network.recurrence.initial_state(len(features)))
    raw = network.head(torch.cat([outputs, features], -1))
    middle: Tensor = raw.flatten(0, 1).median(dim=0).values
    return middle
