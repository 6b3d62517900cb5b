"""The network behind `any-series`: a recurrence that weighs experts and spreads quantiles around them.

One network for streams of any frequency and shape, one step ahead, in units of each stream's own running scale.
`training.networks.expert_features` makes its inputs; `training.export.any_series` builds both into one graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import torch
from torch import Tensor, nn

from training.networks.anomaly_likelihood import AnomalySettings
from training.networks.expert_features import EXTRAS, ExpertSettings
from training.networks.quantile_head import GAP_SCALE, LEAST_GAP, centre_of, quantiles_from_raw, squareplus
from training.networks.recurrence import Cell, Recurrence, State

SQUASH = 0.25
LEAST_WEIGHT = 1e-9


@dataclass(frozen=True)
class AnySeriesSettings:
    """What the network is made of; together with the weights, all that export needs."""

    cell: Cell = "LSTM"
    hidden_size: int = 64
    layers: int = 1
    quantiles: tuple[float, ...] = (0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.98)
    experts: ExpertSettings = ExpertSettings()
    anomaly: AnomalySettings = AnomalySettings(
        floor=0.7,
        share=0.3,
        habit=1.0,
        excess=8.0,
        decay=0.9998,
        prior=3.0,
        prior_weight=50.0,
        rest=140,
        fade=0.0,
        peak_prior=2.5,
        peak_weight=500.0,
        peak_clip=1.7,
    )
    conformal: float = 0.0


class AnySeries(nn.Module):
    """Quantiles, one step ahead, on the scale of the features."""

    def __init__(self, settings: AnySeriesSettings) -> None:
        super().__init__()
        self.settings = settings
        features, experts = settings.experts.feature_count, settings.experts.experts
        self.recurrence = Recurrence(settings.cell, features, settings.hidden_size, settings.layers)
        self.head = nn.Linear(settings.hidden_size + features, len(settings.quantiles) + experts)
        self._begin_at_a_normal_distribution()

    def initial_state(self, batch: int) -> State:
        """The state of `batch` series that have seen nothing."""
        return self.recurrence.initial_state(batch)

    def forward(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """Quantiles (B, T, Q) of each next value from features (B, T, F), and the state after them."""
        experts = self.settings.experts.experts
        lie, trust, last, known, within = torch.split(features, [experts, experts, 1, EXTRAS - 3, 2], -1)
        inputs = torch.cat([squash(lie), trust, squash(last), known, squash(within)], -1)
        outputs, state = self.recurrence(inputs, state)
        both = self.head(torch.cat([outputs, inputs], -1))
        raw, chosen = torch.split(both, [len(self.settings.quantiles), experts], -1)
        square = trust * trust
        weights = squareplus(chosen.float()) * (square * square * square)
        location = (weights * lie).sum(-1, keepdim=True) / (weights.sum(-1, keepdim=True) + LEAST_WEIGHT)
        return quantiles_from_raw(raw, self.settings.quantiles) + location, state

    @torch.no_grad()
    def _begin_at_a_normal_distribution(self) -> None:
        # The inverse of squareplus is y − 1/y, so the untrained gaps are those of a normal distribution.
        levels = self.settings.quantiles
        centre = centre_of(levels)
        values = [1.2 * NormalDist().inv_cdf(level) for level in levels]
        self.head.weight.mul_(0.1)
        self.head.bias.zero_()
        for index in range(len(levels)):
            if index != centre:
                nearer = index - 1 if index > centre else index + 1
                gap = (abs(values[index] - values[nearer]) - LEAST_GAP) / GAP_SCALE
                self.head.bias[index] = gap - 1 / gap


def squash(values: Tensor) -> Tensor:
    """Values drawn in towards ±4, without a function that graphs compute in more than one way."""
    return values / (1 + SQUASH * values.abs())
