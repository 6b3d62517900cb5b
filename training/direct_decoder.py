"""What the direct forecaster is trained on and how: random windows, all horizons at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from service.contract.quantile_function import probability_below
from training.data.alignment import AlignedSeries, Split, align_ends
from training.data.series import SeriesSet
from training.direct_settings import DirectSettings, segments_of
from training.errors import TrainingError
from training.evaluation.forecast_evaluation import metric_season
from training.fit import FitResult, FitSettings
from training.forecaster_settings import NetworkSettings, calendar_of, training_days
from training.networks.decoders import AnyDecoder, Decoder, Member
from training.networks.segment_ensemble import AnySegmentForecaster
from training.networks.segment_forecaster import SegmentForecaster, SegmentSettings
from training.segment_fit import batch_loss, fit_segments
from training.segment_windows import Batch, SegmentWindows

VALIDATION_WINDOWS = 2048


@dataclass(frozen=True)
class PreparedDirect:
    """The data of one run, and a network's settings that fit it."""

    series: SeriesSet
    aligned: AlignedSeries
    split: Split
    settings: SegmentSettings
    direct: DirectSettings

    @property
    def decoder(self) -> Decoder:
        """Its name."""
        return "direct"

    def build(self) -> SegmentForecaster:
        """A network with fresh weights."""
        return SegmentForecaster(self.settings)

    def fit(self, network: Member, settings: FitSettings, run: Path, resume: bool) -> FitResult:
        """Train on what comes before validation; keep the mean weights with the least loss over its horizons."""
        assert isinstance(network, SegmentForecaster)
        device = next(network.parameters()).device
        held_out = self.validation.to(device)

        def validate(candidate: SegmentForecaster) -> float:
            return float(batch_loss(candidate, held_out))

        windows = self._windows(self.split.validation)
        return fit_segments(network, windows, self.direct.fit(settings), run, validate, resume)

    @cached_property
    def validation(self) -> Batch:
        """Windows whose horizons lie in the validation stretch, evenly spaced."""
        first, end = self.split.validation, self.split.test
        last = max(end - self.settings.prediction_length, first)
        series = np.flatnonzero(self.aligned.begins < first)
        each = max(VALIDATION_WINDOWS // len(series), 1)
        origins = np.unique(np.linspace(first, last, min(each, last - first + 1)).astype(np.int64))
        return self._windows(end).at(np.repeat(series, len(origins)), np.tile(origins, len(series)))

    def foretold(self, network: AnyDecoder) -> Tensor:
        """Quantiles (W, P, Q) of the validation windows, on their own scale."""
        assert isinstance(network, AnySegmentForecaster)
        quantiles: Tensor = network(self.validation.window, self.validation.calendar)
        return quantiles

    @torch.no_grad()
    def fell(self, network: AnyDecoder) -> NDArray[np.float64]:
        """(W, P): where what followed the validation windows fell in the network's distributions; NaN where missing."""
        quantiles = self.foretold(network).numpy()
        return probability_below(quantiles, self.settings.quantiles, self.validation.target.numpy())

    def _windows(self, end: int) -> SegmentWindows:
        return SegmentWindows(
            self.aligned.target,
            self.aligned.begins,
            end,
            self.settings,
            self.aligned.calendar,
            metric_season(self.series.frequency),
            self.direct.size_share,
        )


def prepare_direct(
    series: SeriesSet, split: Split, network: NetworkSettings, direct: DirectSettings, horizon: int
) -> PreparedDirect:
    """Settle window, segments and calendar by what comes before validation.

    Raises:
        TrainingError: the series have covariates, which this decoder does not take.
    """
    if series.covariates is not None or series.static is not None:
        raise TrainingError(
            "decoder direct: expected series without covariates and static columns; use --decoder ancestral for them"
        )
    begins = series.begins + series.length - series.ends
    lengths = split.validation - begins
    days = training_days(series.frequency, int(lengths.max()))
    calendar = calendar_of(network, series.frequency, series.first is not None, days)
    settings = segments_of(
        direct, series.frequency, horizon, int(np.median(lengths)), network.levels, calendar, network.conformal
    )
    aligned = align_ends(series, calendar, ahead=settings.prediction_length)
    return PreparedDirect(series, aligned, split, settings, direct)
