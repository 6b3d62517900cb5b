"""Several segment forecasters of the same settings as one: each quantile is the mean of the members' own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from training.networks.segment_forecaster import SegmentForecaster, SegmentSettings, Window


class SegmentEnsemble(nn.Module):
    """Quantiles of the next P steps, on the scale of the window, of all members on average."""

    def __init__(self, members: Sequence[SegmentForecaster]) -> None:
        super().__init__()
        if not members or any(member.settings != members[0].settings for member in members):
            raise ValueError("members: expected one or more segment forecasters of the same settings")
        self.members = nn.ModuleList(members)

    @property
    def settings(self) -> SegmentSettings:
        """The settings of each member."""
        return segment_members_of(self)[0].settings

    def forward(self, window: Window, calendar: Tensor | None = None) -> Tensor:
        """Quantiles (N, P, Q) of the steps after windows."""
        return torch.stack([member(window, calendar) for member in self.members]).mean(0)


AnySegmentForecaster = SegmentForecaster | SegmentEnsemble


def segment_members_of(network: AnySegmentForecaster) -> list[SegmentForecaster]:
    """The segment forecasters that a network is made of: itself, where it is one alone."""
    if isinstance(network, SegmentForecaster):
        return [network]
    return [cast(SegmentForecaster, member) for member in network.members]
