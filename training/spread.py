"""Sets how wide a trained forecaster's distributions are, so that its intervals cover what they promise.

Quantiles one step ahead are calibrated by their loss, but free-running forecasts add up many steps, and a network
that was stopped early is often too wide. One factor on all gaps between quantiles, found on validation data and
folded into the weights of the head, sets this right; the graphs stay as they are.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TypeVar

import torch
from torch import Tensor, nn

from training.networks.decoders import AnyDecoder, parts_of
from training.networks.quantile_head import centre_of, squareplus

Network = TypeVar("Network", bound=AnyDecoder)

NARROWEST, WIDEST = 0.4, 2.5
BISECTIONS = 7


def find_spread(
    network: Network,
    typical: Sequence[Tensor],
    coverage_of: Callable[[Network], float],
    wanted: float,
    advanced: Callable[[float], None] = lambda share: None,
) -> tuple[float, float]:
    """The factor at which the coverage is as wanted, or the nearest to it in reach, and the coverage there.

    Args:
        typical: outputs (R,) of each member's head around which the factor is to be exact.
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
def with_spread(network: Network, factor: float, typical: Sequence[Tensor]) -> Network:
    """A copy whose gaps between quantiles are `factor` times as wide, to first order around `typical` (R,).

    Each gap is a squareplus of a linear function; the line's scale and shift that multiply the squareplus and its
    slope by `factor` at the typical value go into the weights. Of several members each is changed around its own.
    """
    changed = copy.deepcopy(network)
    for member, own in zip(parts_of(changed), typical, strict=True):
        _widen(member.head, member.settings.quantiles, factor, own)
    return changed


def _widen(head: nn.Linear, levels: Sequence[float], factor: float, typical: Tensor) -> None:
    """Change a head of R = Q outputs, or of Q for each of several steps."""
    wanted = factor * squareplus(typical.double())
    moved = wanted - 1 / wanted  # the inverse of squareplus
    scale = factor * _slope(typical.double()) / _slope(moved)
    shift = moved - scale * typical
    centres = torch.arange(len(typical)) % len(levels) == centre_of(levels)
    scale[centres], shift[centres] = 1, 0
    head.weight.mul_(scale[:, None].to(head.weight))
    head.bias.copy_((head.bias * scale + shift).to(head.bias))


def _slope(values: Tensor) -> Tensor:
    """The derivative of squareplus."""
    slope: Tensor = (1 + values / torch.sqrt(values * values + 4)) / 2
    return slope


@torch.no_grad()
def typical_raw(network: AnyDecoder, run: Callable[[], object]) -> list[Tensor]:
    """Median outputs (R,) of each member's head in what a run of the network makes of some data."""
    given: list[list[Tensor]] = [[] for _ in parts_of(network)]
    with ExitStack() as stack:
        for member, own in zip(parts_of(network), given, strict=True):
            stack.enter_context(member.head.register_forward_hook(lambda head, inputs, raw, own=own: own.append(raw)))
        run()
    return [torch.cat([raw.flatten(0, -2) for raw in own]).median(dim=0).values for own in given]
