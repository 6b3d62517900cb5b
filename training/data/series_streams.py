"""Training windows over many series: columns walk contiguous stretches, state and all, and never look across a border.

    series 0  ├─ w0 ─┼─ w1 ─┼─ w2 ─┤
    series 1  ├─ w3 ─┼─ w4 ─┼─ w5 ─┼─ w6 ─┤       column 0 takes w1 w2 w3 w4, column 1 takes w5 w6 w0 w1
                                                  in an epoch that begins at w1; the state starts anew at w1,
                                                  w3, w5 and w0: where a stretch, a series or the round begins

Each epoch cuts the series at another phase and begins at another window, drawn from (seed, epoch) alone, so any
window can be had without those before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from training.bptt import Window
from training.errors import TrainingError
from training.networks.causal_features import Array


@dataclass(frozen=True)
class _Cut:
    """The windows of one epoch in order: series and first step of each, and whether it begins its series."""

    series: NDArray[np.int64]
    start: NDArray[np.int64]
    first: NDArray[np.bool_]
    offset: int


class SeriesStreams:
    """Windows over features (N, T, F) and normalised targets (N, T) of each series, its begin (N,) to the end.

    Args:
        batch_size: columns; fewer, if there are fewer windows.
        length: steps per window; 0 for the longest series as a whole.
        stride: steps from one window of a column to its next; 0 for `length`.
    """

    def __init__(
        self,
        features: Array,
        target_z: Array,
        begin: NDArray[np.int64],
        end: int,
        batch_size: int,
        length: int,
        stride: int = 0,
        seed: int = 0,
    ) -> None:
        if np.any(end <= begin):
            raise TrainingError(f"series {int(np.argmax(begin))}: expected steps to train on, got none")
        self.features, self.target_z = torch.from_numpy(features), torch.from_numpy(target_z)
        self.begin, self.end, self.seed = begin, end, seed
        self.length = length or int((end - begin).max())
        self.stride = stride or self.length
        # As many windows as there are at the latest phase, so that no epoch has too few.
        windows = int(sum(len(self._starts(n, self.stride - 1)) for n in range(len(begin))))
        self.batch_size = min(batch_size, windows)
        self.windows_per_epoch = windows // self.batch_size
        self._cut = lru_cache(maxsize=2)(self._cut_anew)

    def window(self, epoch: int, index: int) -> Window:
        """Window `index` of an epoch: features (B, T, F), targets (B, T), resets (B,)."""
        cut = self._cut(epoch)
        column = np.arange(self.batch_size) * self.windows_per_epoch
        place = (cut.offset + column + index) % len(cut.start)
        series, start = cut.series[place], cut.start[place]
        steps = start[:, None] + np.arange(self.length)  # (B, T)
        inside = torch.from_numpy(steps < self.end)
        steps = np.minimum(steps, self.features.shape[1] - 1)
        rows = torch.from_numpy(series)[:, None]
        inputs = self.features[rows, torch.from_numpy(steps)] * inside[..., None]
        targets = torch.where(inside, self.target_z[rows, torch.from_numpy(steps)], torch.nan)
        resets = np.ones_like(cut.first[place]) if index == 0 else cut.first[place]
        return Window(inputs, targets, torch.from_numpy(resets))

    def _cut_anew(self, epoch: int) -> _Cut:
        random = np.random.default_rng((self.seed, epoch))
        order = random.permutation(len(self.begin))
        starts = [self._starts(n, int(random.integers(self.stride))) for n in order]
        return _Cut(
            series=np.repeat(order, [len(one) for one in starts]),
            start=np.concatenate(starts),
            first=np.concatenate([np.arange(len(one)) == 0 for one in starts]),
            offset=int(random.integers(sum(len(one) for one in starts))),
        )

    def _starts(self, series: int, phase: int) -> NDArray[np.int64]:
        """First steps of a series' windows; a series shorter than two windows always begins at its beginning."""
        begin, end = self.begin[series], self.end
        if end - begin >= 2 * self.length:
            begin = begin + phase
        # The last window may reach beyond the end, where nothing is scored; the state starts anew after it.
        return np.arange(begin, max(end - self.length + self.stride, begin + 1), self.stride, dtype=np.int64)
