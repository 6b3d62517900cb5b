"""Several forecasters of the same settings as one: each quantile is the mean of the members' own.

Averaging quantiles level by level (Vincent averaging) keeps the shape that the members agree on, where averaging
probabilities would widen it by every disagreement (Lichtendahl, Grushka-Cockayne and Winkler, 2013).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from training.networks.forecaster import Forecaster, ForecasterSettings
from training.networks.recurrence import State


class Ensemble(nn.Module):
    """Quantiles, one step ahead, on the scale of the features, of all members on average."""

    def __init__(self, members: Sequence[Forecaster]) -> None:
        super().__init__()
        if not members or any(member.settings != members[0].settings for member in members):
            raise ValueError("members: expected one or more forecasters of the same settings")
        self.members = nn.ModuleList(members)

    @property
    def settings(self) -> ForecasterSettings:
        """The settings of each member."""
        return members_of(self)[0].settings

    def initial_state(self, batch: int) -> State:
        """The members' states of `batch` series that have seen nothing, one member after another."""
        return tuple(part for member in members_of(self) for part in member.initial_state(batch))

    def forward(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """Quantiles (B, T, Q) of each next value from features (B, T, F), and the states after them."""
        members = members_of(self)
        size = len(state) // len(members)
        given = [state[begin : begin + size] for begin in range(0, len(state), size)]
        found = [member(features, own) for member, own in zip(members, given, strict=True)]
        quantiles = torch.stack([quantiles for quantiles, _ in found]).mean(0)
        return quantiles, tuple(part for _, after in found for part in after)


AnyForecaster = Forecaster | Ensemble


def members_of(network: AnyForecaster) -> list[Forecaster]:
    """The forecasters that a network is made of: itself, where it is one alone."""
    if isinstance(network, Forecaster):
        return [network]
    return [cast(Forecaster, member) for member in network.members]
