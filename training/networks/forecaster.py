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
from training.networks.anomaly_likelihood import AnomalySettings
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
    anomaly: AnomalySettings = AnomalySettings()
    conformal: float = 0.0
    """Rate at which each stream's intervals adapt to its own misses (`training.networks.conformal`); 0: not at all."""

    log_scale: tuple[float, float] | None = None
    """Mean and deviation that the logarithm of the running scale is standardised with, where it is an input."""
    residual: bool = False
    learned_state: bool = False

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
        """F: two per lag (value, whether observed), the scale's age, perhaps its logarithm, and what is known."""
        return 2 * len(self.lags) + 1 + (self.log_scale is not None) + self.known_width

    @property
    def known_width(self) -> int:
        """Columns of what is known of a step beforehand: calendar, covariates, static."""
        return calendar_width(self.calendar) + len(self.covariates) + self.static_width


class Forecaster(nn.Module):
    """Quantiles, one step ahead, on the scale of the features."""

    def __init__(self, settings: ForecasterSettings) -> None:
        super().__init__()
        self.settings = settings
        self.recurrence = Recurrence(
            settings.cell,
            settings.feature_count,
            settings.hidden_size,
            settings.layers,
            settings.dropout,
            residual=settings.residual,
            learned_state=settings.learned_state,
        )
        self.head = nn.Linear(settings.hidden_size + settings.feature_count, len(settings.quantiles))
        self._begin_at_a_normal_distribution()

    def initial_state(self, batch: int) -> State:
        """The state of `batch` series that have seen nothing."""
        return self.recurrence.initial_state(batch)

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
