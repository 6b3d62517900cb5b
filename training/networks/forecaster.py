"""The forecaster: a recurrence over causal features, and a quantile head over its outputs and the features.

One network for all series (global), one step ahead, in units of each series' own running scale.
`causal_features` makes its inputs for training; `training.export.forecaster` builds both into one graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import torch
from torch import Tensor, nn

from service.contract.calendar import calendar_width
from training.networks.quantile_head import GAP_SCALE, LEAST_GAP, centre_of, quantiles_from_raw
from training.networks.recurrence import Cell, Recurrence, State


@dataclass(frozen=True)
class CovariateScale:
    """A known-future covariate, and the mean and deviation it is standardised with."""

    name: str
    mean: float
    std: float


@dataclass(frozen=True)
class StaticEncoding:
    """A static covariate: a number to standardise, or, with `categories`, one column per category."""

    name: str
    mean: float = 0.0
    std: float = 1.0
    categories: tuple[str, ...] | None = None

    @property
    def width(self) -> int:
        return 1 if self.categories is None else len(self.categories)


@dataclass(frozen=True)
class ForecasterSettings:
    """What a forecaster is made of; together with the weights, all that export needs.

    `decay` is the factor by which older observations lose weight in the running scale at each step.
    """

    cell: Cell
    hidden_size: int
    layers: int
    dropout: float
    quantiles: tuple[float, ...]
    lags: tuple[int, ...]
    decay: float
    calendar: tuple[str, ...] = ()
    covariates: tuple[CovariateScale, ...] = ()
    static: tuple[StaticEncoding, ...] = ()

    @property
    def max_lag(self) -> int:
        """Length of the history a state keeps."""
        return max(self.lags)

    @property
    def static_width(self) -> int:
        """D: columns of the encoded static covariates."""
        return sum(encoding.width for encoding in self.static)

    @property
    def feature_count(self) -> int:
        """F: two per lag (value, whether observed), the scale's age, calendar, covariates, static."""
        return 2 * len(self.lags) + 1 + calendar_width(self.calendar) + len(self.covariates) + self.static_width


class Forecaster(nn.Module):
    """Quantiles, one step ahead, on the scale of the features."""

    def __init__(self, settings: ForecasterSettings) -> None:
        super().__init__()
        self.settings = settings
        self.recurrence = Recurrence(
            settings.cell, settings.feature_count, settings.hidden_size, settings.layers, settings.dropout
        )
        self.head = nn.Linear(settings.hidden_size + settings.feature_count, len(settings.quantiles))
        self._begin_at_a_normal_distribution()

    def forward(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """Quantiles (B, T, Q) of each next value from features (B, T, F), and the state after them."""
        outputs, state = self.recurrence(features, state)
        raw = self.head(torch.cat([outputs, features], -1))
        return quantiles_from_raw(raw, self.settings.quantiles), state

    @torch.no_grad()
    def _begin_at_a_normal_distribution(self) -> None:
        # The inverse of squareplus is y − 1/y, so the untrained gaps are those of a standard normal.
        levels = self.settings.quantiles
        centre = centre_of(levels)
        values = [NormalDist().inv_cdf(level) for level in levels]
        for index in range(len(levels)):
            nearer = index - 1 if index > centre else index + 1
            gap = 0.0 if index == centre else (abs(values[index] - values[nearer]) - LEAST_GAP) / GAP_SCALE
            self.head.bias[index] = 0.0 if index == centre else gap - 1 / gap
