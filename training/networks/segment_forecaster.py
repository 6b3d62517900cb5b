"""The segment forecaster: reads a window of past values as a few segments and answers all horizons at once.

A recurrence reads the window segment by segment, which takes context_length / segment_length steps instead of
context_length; one further step of the same recurrence per segment of the horizon, told only which segment it is,
gives all of them in parallel (Lin et al., "SegRNN", 2023). Here the head gives quantiles, and around them lies a
mixture of the values one, two, three … seasons before, weighted anew for each horizon.

The state is the window itself, so that a forecast never depends on how long ago a session was opened.
Shapes: N windows, W context length, w segment length, D hidden, P prediction length, Q quantiles, C calendar columns,
J = P / w segments ahead, K seasons in the window.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import torch
from torch import Tensor, nn

from service.contract.calendar import calendar_width
from training.networks.anomaly_likelihood import AnomalySettings
from training.networks.causal_features import CLIP, LEAST_SCALE
from training.networks.quantile_head import GAP_SCALE, LEAST_GAP, centre_of, quantiles_from_raw

Centring = Literal["last", "mean"]
MOST_SEASONS = 14
ABSENT = -1e4
"""Logit of a season whose value is missing: its weight underflows to nothing."""


@dataclass(frozen=True)
class SegmentSettings:
    """What a segment forecaster is made of; together with the weights, all that export needs.

    Args:
        season: steps between the values that are mixed; 0 where none are.
        centring: what the window is measured from: its last value, or its mean.
        conformal: rate at which each stream's intervals adapt to its own misses; 0: not at all.
    """

    context_length: int
    prediction_length: int
    segment_length: int
    hidden_size: int
    dropout: float
    quantiles: tuple[float, ...]
    season: int
    centring: Centring
    calendar: tuple[str, ...] = ()
    anomaly: AnomalySettings = AnomalySettings()
    conformal: float = 0.0

    def __post_init__(self) -> None:
        for name in ("context_length", "prediction_length"):
            if getattr(self, name) % self.segment_length:
                raise ValueError(
                    f"{name}: expected whole segments of {self.segment_length} steps, got {getattr(self, name)} steps"
                )
        if self.season > self.context_length:
            raise ValueError(f"season: expected at most the {self.context_length} steps of context, got {self.season}")

    @property
    def segments_ahead(self) -> int:
        """J: segments of the horizon."""
        return self.prediction_length // self.segment_length

    @property
    def seasons(self) -> int:
        """K: how many earlier seasons are mixed."""
        return min(self.context_length // self.season, MOST_SEASONS) if self.season else 0

    def season_places(self) -> list[list[int]]:
        """(P, K): where in the window the values lie that each horizon mixes, the nearest season first."""
        return [
            [self.context_length + ahead % self.season - self.season * (1 + back) for back in range(self.seasons)]
            for ahead in range(self.prediction_length)
        ]


@dataclass(frozen=True)
class Window:
    """A window on its own scale: value = origin + scale · z.

    Args:
        z: (N, W), 0 where missing.
        observed: (N, W), whether the value was observed.
        origin: (N, 1).
        scale: (N, 1).
    """

    z: Tensor
    observed: Tensor
    origin: Tensor
    scale: Tensor


def on_its_own_scale(window: Tensor, centring: Centring) -> Window:
    """A window (N, W) of values, NaN where missing, measured from its last value or mean by its mean deviation.

    All differences are taken from the last observed value, so that a large level costs no digits. The scale is held
    up by the values themselves while there are few. A window without any value has origin 0.
    """
    observed = ~torch.isnan(window)
    count = observed.sum(-1, keepdim=True).to(window.dtype)
    known = torch.where(observed, window, 0)
    order = torch.arange(1, window.shape[-1] + 1, device=window.device) * observed
    last = torch.gather(known, -1, order.argmax(-1, keepdim=True))
    many = count.clamp(min=1)
    apart = torch.where(observed, window - last, 0)
    mean = apart.sum(-1, keepdim=True) / many
    deviation = torch.where(observed, (apart - mean).abs(), 0).sum(-1, keepdim=True)
    size = known.abs().sum(-1, keepdim=True) / many
    scale = ((deviation + 0.5 * size) / (count + 2)).clamp(min=LEAST_SCALE)
    centre = mean if centring == "mean" else torch.zeros_like(mean)
    z = torch.where(observed, ((apart - centre) / scale).clamp(-CLIP, CLIP), 0)
    return Window(z, observed, last + centre, scale)


class SegmentForecaster(nn.Module):
    """Quantiles of the next P steps, on the scale of the window."""

    def __init__(self, settings: SegmentSettings) -> None:
        super().__init__()
        self.settings = settings
        width, hidden = settings.segment_length, settings.hidden_size
        self.embed = nn.Linear(2 * width, hidden)  # values, and whether each was observed
        self.rnn = nn.GRU(hidden, hidden, batch_first=True)
        self.place = nn.Parameter(0.1 * torch.randn(settings.segments_ahead, hidden))
        self.calendar = nn.Linear(calendar_width(settings.calendar), hidden, bias=False) if settings.calendar else None
        self.head = nn.Linear(hidden, width * len(settings.quantiles))
        self.mixture = nn.Linear(hidden, width * (settings.seasons + 1)) if settings.season else None
        self.dropout = nn.Dropout(settings.dropout)
        self._begin_at_a_normal_distribution()

    def forward(self, window: Window, calendar: Tensor | None = None) -> Tensor:
        """Quantiles (N, P, Q) of the steps after windows; `calendar` (N, P, C) of those, where the settings ask."""
        after = self.decode(self.encode(window), calendar)
        return quantiles_from_raw(self.raw(after, window), self.settings.quantiles)

    def encode(self, window: Window) -> Tensor:
        """Hidden state (N, D) after the last segment."""
        shape = (len(window.z), -1, self.settings.segment_length)
        segments = torch.cat([window.z.view(shape), window.observed.to(window.z.dtype).view(shape)], -1)
        _, hidden = self.rnn(self.dropout(torch.relu(self.embed(segments))))
        last: Tensor = hidden[0]
        return last

    def decode(self, hidden: Tensor, calendar: Tensor | None = None) -> Tensor:
        """Hidden states (N, J, D) of the segments ahead: one step of the recurrence from (N, D) for each.

        Of the calendar, each segment sees its first step, from which the others follow: so that one step ahead can be
        told when the calendar of one step is known.
        """
        place = self.place.expand(len(hidden), -1, -1)
        if self.calendar is not None:
            if calendar is None:
                raise ValueError("calendar: expected that of the steps ahead, because the settings name it; got none")
            place = place + self.calendar(calendar[:, :: self.settings.segment_length])
        weights = self.rnn.get_parameter
        inputs = nn.functional.linear(place, weights("weight_ih_l0"), weights("bias_ih_l0"))  # (N, J, 3 D)
        carried = nn.functional.linear(hidden, weights("weight_hh_l0"), weights("bias_hh_l0"))[:, None]  # (N, 1, 3 D)
        reset_in, update_in, new_in = inputs.chunk(3, -1)
        reset_of, update_of, new_of = carried.chunk(3, -1)
        update = torch.sigmoid(update_in + update_of)
        new = torch.tanh(new_in + torch.sigmoid(reset_in + reset_of) * new_of)
        return new + update * (hidden[:, None] - new)

    def raw(self, ahead: Tensor, window: Window) -> Tensor:
        """Raw outputs (N, P, Q) of the head, the mixture of seasons in their centre."""
        settings = self.settings
        count, levels = len(ahead), settings.quantiles
        ahead = self.dropout(ahead)
        raw: Tensor = self.head(ahead).view(count, settings.prediction_length, len(levels))
        if self.mixture is None:
            return raw
        places = torch.tensor(settings.season_places(), device=raw.device)
        logits = self.mixture(ahead).view(count, settings.prediction_length, settings.seasons + 1)
        present = torch.where(window.observed[:, places], logits[..., :-1], ABSENT)
        weights = torch.softmax(torch.cat([present, logits[..., -1:]], -1), -1)
        mixed = (weights[..., :-1] * window.z[:, places]).sum(-1)
        centre = torch.arange(len(levels), device=raw.device) == centre_of(levels)
        return raw + mixed[..., None] * centre

    @torch.no_grad()
    def _begin_at_a_normal_distribution(self) -> None:
        # The inverse of squareplus is y − 1/y, so the untrained gaps are those of a normal distribution.
        levels = self.settings.quantiles
        centre, values = centre_of(levels), [NormalDist().inv_cdf(level) for level in levels]
        bias = self.head.bias.view(self.settings.segment_length, len(levels))
        self.head.weight.mul_(0.3)
        for index in range(len(levels)):
            nearer = index - 1 if index > centre else index + 1
            gap = 0.0 if index == centre else (abs(values[index] - values[nearer]) - LEAST_GAP) / GAP_SCALE
            bias[:, index] = 0.0 if index == centre else gap - 1 / gap
