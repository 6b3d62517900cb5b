"""What the ancestral forecaster is trained on and how: one step ahead over streams, its own samples fed back later."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.data.alignment import AlignedSeries, Split, align_ends
from training.data.forecast_inputs import covariate_scales, features_of, log_scale_of, loss_between, static_encodings
from training.data.series import SeriesSet
from training.data.series_streams import SeriesStreams
from training.errors import TrainingError
from training.fit import FitResult, FitSettings, fit
from training.forecaster_settings import NetworkSettings, calendar_of, lags_of, training_days
from training.networks.causal_features import CausalFeatures
from training.networks.decoders import AnyDecoder, Decoder, Member
from training.networks.ensemble import AnyForecaster
from training.networks.forecaster import Forecaster, ForecasterSettings
from training.networks.quantile_head import quantile_loss


@dataclass(frozen=True)
class PreparedAncestral:
    """The data of one run, and a network's settings that fit it."""

    series: SeriesSet
    aligned: AlignedSeries
    split: Split
    settings: ForecasterSettings
    features: CausalFeatures

    @property
    def decoder(self) -> Decoder:
        """Its name."""
        return "ancestral"

    def build(self) -> Forecaster:
        """A network with fresh weights."""
        return Forecaster(self.settings)

    def fit(self, network: Member, settings: FitSettings, run: Path, resume: bool) -> FitResult:
        """Train on what comes before validation; keep the weights with the least loss one step ahead on validation."""
        assert isinstance(network, Forecaster)
        features, begins, split = self.features, self.aligned.begins, self.split
        streams = SeriesStreams(
            features.features,
            features.target_z,
            begins,
            split.validation,
            settings.batch_size,
            settings.bptt_length,
            settings.bptt_stride,
            settings.seed,
        )
        validate = loss_between(network, features.features, features.target_z, begins, split.validation, split.test)

        def loss(quantiles: Tensor, target: Tensor) -> Tensor:
            return quantile_loss(quantiles, target, self.settings.quantiles)

        return fit(network, loss, streams, validate, settings, run, resume)

    def foretold(self, network: AnyDecoder) -> Tensor:
        """Quantiles (N, T, Q) one step ahead over the validation stretch, on the scale of the features."""
        assert isinstance(network, AnyForecaster)
        features = torch.from_numpy(self.features.features[:, self.split.validation : self.split.test])
        quantiles: Tensor = network(features, network.initial_state(len(features)))[0]
        return quantiles


def prepare_ancestral(series: SeriesSet, data_split: Split, network: NetworkSettings) -> PreparedAncestral:
    """Settle lags, calendar and scales by what comes before validation, and compute features."""
    begins = series.begins + series.length - series.ends
    lengths = data_split.validation - begins
    typical, longest = int(np.median(lengths)), int(lengths.max())
    days = training_days(series.frequency, longest)
    calendar = calendar_of(network, series.frequency, series.first is not None, days)
    aligned = align_ends(series, calendar)
    settings = ForecasterSettings(
        cell=network.cell,
        hidden_size=network.hidden_size,
        layers=network.layers,
        dropout=network.dropout,
        quantiles=network.levels,
        lags=lags_of(network, series.frequency, typical),
        decay=network.decay,
        calendar=calendar,
        covariates=covariate_scales(series, aligned, data_split.validation),
        static=static_encodings(series),
        conformal=network.conformal,
        log_scale=log_scale_of(aligned, network.decay, data_split.validation) if network.log_scale else None,
        residual=network.residual,
        learned_state=network.learned_state,
    )
    if settings.max_lag >= longest:
        raise TrainingError(
            f"lags: expected them to reach back less than the {longest} steps of the longest series before"
            f" validation, got {settings.max_lag}"
        )
    return PreparedAncestral(series, aligned, data_split, settings, features_of(aligned, settings))
