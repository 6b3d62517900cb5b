"""Training windows of a segment forecaster: pieces of many series with what followed, drawn at random.

    series   ···├──────── context_length ────────┤├─ prediction_length ─┤···
                                                 origin

Each draw depends on (seed, step) alone, so a run that was stopped goes on with the windows it would have had.
Shapes: N series, T steps, W context length, P prediction length, C calendar columns, B windows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.errors import TrainingError
from training.evaluation.metrics import seasonal_error
from training.networks.causal_features import Array
from training.networks.segment_forecaster import SegmentSettings, Window, on_its_own_scale

FARTHEST = 1e6
"""A target is taken to lie at most so many scales away: after a window of equal values everything is far."""
MOST_WEIGHT = 20.0


@dataclass(frozen=True)
class Augmentation:
    """What is done to windows so that the network learns from less than it could see.

    Args:
        cold_start: share of windows of which only the last 1 to W values are left, fewer more often than many.
        gaps: share of windows in which a stretch is missing.
        mixed: share of windows that are the mean, weighted at random, of two windows on their own scales, what
            followed them included (as "TSMixup" of Ansari et al., "Chronos", 2024).
    """

    cold_start: float = 0.15
    gaps: float = 0.1
    mixed: float = 0.0


class Batch(NamedTuple):
    """Windows on their own scale, and what followed them."""

    window: Window
    target: Tensor
    """(B, P) on the windows' scale, NaN where not scored."""
    calendar: Tensor | None
    """(B, P, C) of the steps that followed."""
    weight: Tensor
    """(B,): the window's scale in units of what is usual in its series."""

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        own = self.window
        window = Window(*(part.to(device) for part in (own.z, own.observed, own.origin, own.scale)))
        calendar = None if self.calendar is None else self.calendar.to(device)
        return Batch(window, self.target.to(device), calendar, self.weight.to(device))


class SegmentWindows:
    """Windows of series (N, T), drawn from their begins (N,) to an end; values after `end` are never seen.

    Args:
        season: of the usual error, the mean absolute difference one season apart.
        size_share: how much errors count in units of the usual size of a series' values, beside those in units of its
            usual error: what percentages and the weighted quantile loss look at.
    """

    def __init__(
        self,
        target: Array,
        begins: NDArray[np.int64],
        end: int,
        settings: SegmentSettings,
        calendar: Array | None = None,
        season: int | None = None,
        size_share: float = 0.0,
    ) -> None:
        self.settings = settings
        context, ahead = settings.context_length, settings.prediction_length
        known = np.full((len(target), context + end + ahead), np.nan, np.float32)
        known[:, context : context + end] = target[:, :end]
        self._values = torch.from_numpy(known)
        self._calendar = None if calendar is None else torch.from_numpy(np.asarray(calendar, np.float32))
        lengths = end - np.asarray(begins)
        if np.any(lengths < 2):
            shortest = int(np.argmin(lengths))
            raise TrainingError(f"series {shortest}: expected at least two steps to train on, got {lengths[shortest]}")
        # Whole windows before whole horizons, where a series is long enough for both; else what it has.
        self._last = np.maximum(end - ahead, begins + 1)
        self._first = np.minimum(begins + context, begins + np.maximum((lengths - ahead) // 2, 1))
        self._first = np.minimum(self._first, self._last)
        error, size = _usual(target[:, :end], season or settings.season or 1)
        self._error, self._size = torch.from_numpy(error), torch.from_numpy(size)
        self._size_share = size_share

    def draw(self, count: int, augmentation: Augmentation, seed: int, step: int) -> Batch:
        """Windows of one update: a series at random for each, and an origin at random in it."""
        random = np.random.default_rng((seed, step))
        series, origins = self._places(count, random)
        window, ahead = self._pieces(series, origins)
        window = _thinned(window, augmentation, random)
        batch = self._batch(series, origins, window, ahead)
        return _mixed(batch, augmentation.mixed, random) if augmentation.mixed else batch

    def at(self, series: NDArray[np.int64], origins: NDArray[np.int64]) -> Batch:
        """The windows before given origins, as they are."""
        return self._batch(series, origins, *self._pieces(series, origins))

    def _places(self, count: int, random: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        rounds = -(-count // len(self._first))
        series = np.concatenate([random.permutation(len(self._first)) for _ in range(rounds)])[:count]
        share = random.random(count)
        origins = self._first[series] + (share * (self._last - self._first + 1)[series]).astype(np.int64)
        return series, origins

    def _pieces(self, series: NDArray[np.int64], origins: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Values (B, W) before the origins, and (B, P) from them on."""
        context = self.settings.context_length
        steps = origins[:, None] + np.arange(context + self.settings.prediction_length)
        values = self._values[torch.from_numpy(series)[:, None], torch.from_numpy(steps)]
        return values[:, :context], values[:, context:]

    def _batch(self, series: NDArray[np.int64], origins: NDArray[np.int64], window: Tensor, ahead: Tensor) -> Batch:
        own = on_its_own_scale(window, self.settings.centring)
        target = ((ahead - own.origin) / own.scale).clamp(-FARTHEST, FARTHEST)
        target = torch.where(own.observed.any(-1, keepdim=True), target, torch.nan)
        return Batch(own, target, self._calendar_of(series, origins), self._weight(own.scale[:, 0], series))

    def _weight(self, scale: Tensor, series: NDArray[np.int64]) -> Tensor:
        rows = torch.from_numpy(series)
        by_error, by_size = ((scale / usual[rows]).clamp(max=MOST_WEIGHT) for usual in (self._error, self._size))
        return by_error + self._size_share * by_size

    def _calendar_of(self, series: NDArray[np.int64], origins: NDArray[np.int64]) -> Tensor | None:
        if self._calendar is None:
            return None
        # A horizon that reaches beyond the calendar is not scored there.
        steps = np.minimum(origins[:, None] + np.arange(self.settings.prediction_length), self._calendar.shape[1] - 1)
        return self._calendar[torch.from_numpy(series)[:, None], torch.from_numpy(steps)]


def _usual(target: Array, season: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(N,) mean absolute difference a season apart, and mean size of values; the one for the other where it is 0."""
    error = np.nan_to_num(seasonal_error(target, season))
    observed = ~np.isnan(target)
    size = np.where(observed, np.abs(target), 0).sum(1) / np.maximum(observed.sum(1), 1)
    size = np.where(size > 0, size, np.where(error > 0, error, 1.0))
    return np.where(error > 0, error, size).astype(np.float32), size.astype(np.float32)


def _thinned(window: Tensor, augmentation: Augmentation, random: np.random.Generator) -> Tensor:
    """Windows (B, W) of which some begin late and some have a gap; the last value stays."""
    count, length = window.shape
    place = np.arange(length)
    kept = _log_uniform(random, count, length)
    late = (random.random(count) < augmentation.cold_start)[:, None] & (place < (length - kept)[:, None])
    longest = _log_uniform(random, count, max(length // 2, 1))
    start = (random.random(count) * (length - 1 - longest).clip(min=0)).astype(np.int64)
    inside = (place >= start[:, None]) & (place < np.minimum(start + longest, length - 1)[:, None])
    gap = (random.random(count) < augmentation.gaps)[:, None] & inside
    return torch.where(torch.from_numpy(late | gap), torch.nan, window)


def _log_uniform(random: np.random.Generator, count: int, most: int) -> NDArray[np.int64]:
    """Whole numbers from 1 to `most`, small ones more often."""
    drawn = np.exp(random.random(count) * np.log(most + 1))
    return np.asarray(drawn, np.int64).clip(1, most)


def _mixed(batch: Batch, share: float, random: np.random.Generator) -> Batch:
    """Some windows replaced by means of themselves and others, z and targets alike."""
    count = len(batch.weight)
    other = torch.from_numpy(random.permutation(count))
    part = np.where(random.random(count) < share, random.beta(0.5, 0.5, count), 1.0)
    own = torch.from_numpy(part.astype(np.float32))[:, None]
    alone = own == 1

    def mean(values: Tensor) -> Tensor:
        return torch.where(alone, values, own * values + (1 - own) * values[other])

    observed = torch.where(alone, batch.window.observed, batch.window.observed & batch.window.observed[other])
    window = batch.window
    z = torch.where(observed, mean(window.z), 0)
    return batch._replace(window=Window(z, observed, window.origin, window.scale), target=mean(batch.target))
