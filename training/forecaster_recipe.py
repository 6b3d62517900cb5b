"""The steps of training a forecaster: prepare the data, fit, set the spread, measure. The command orders them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from service.contract.frequency import Frequency, format_timestamp
from training.data.alignment import AlignedSeries, Split, align_ends, split_time
from training.data.forecast_inputs import covariate_scales, features_of, loss_between, static_encodings
from training.data.series import SeriesSet
from training.data.series_streams import SeriesStreams
from training.errors import TrainingError
from training.evaluation.backtest import backtest, rolling_origins
from training.evaluation.forecast_evaluation import Evaluation, SampleForecast, evaluate_forecaster, metric_season
from training.evaluation.metrics import coverage, coverage_one_step
from training.export import ExportedForecaster, export_forecaster
from training.fit import FitResult, FitSettings, fit
from training.forecaster_settings import (
    EvaluationSettings,
    NetworkSettings,
    SeriesSettings,
    calendar_of,
    lags_of,
    seasons_of,
    training_days,
)
from training.networks.causal_features import CausalFeatures
from training.networks.forecaster import Forecaster, ForecasterSettings
from training.networks.quantile_head import quantile_loss
from training.spread import find_spread, typical_raw, with_spread
from training.waiting import waiting

SPREAD_PATHS = 100


@dataclass(frozen=True)
class Prepared:
    """The data of one run, and a network's settings that fit it."""

    series: SeriesSet
    aligned: AlignedSeries
    split: Split
    settings: ForecasterSettings
    features: CausalFeatures


def parse_frequency(text: str) -> Frequency:
    """The frequency a flag names."""
    try:
        return Frequency.parse(text)
    except ValueError as error:
        raise TrainingError(str(error)) from error


def prepare(series: SeriesSet, data: SeriesSettings, network: NetworkSettings, horizon: int) -> Prepared:
    """Hold out the end of the series, settle lags, calendar and scales by what comes before, compute features."""
    split = split_time(series, data.validation_length, data.test_length, horizon)
    begins = series.begins + series.length - series.ends
    lengths = split.validation - begins
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
        covariates=covariate_scales(series, aligned, split.validation),
        static=static_encodings(series),
    )
    if settings.max_lag >= longest:
        raise TrainingError(
            f"lags: expected them to reach back less than the {longest} steps of the longest series before"
            f" validation, got {settings.max_lag}"
        )
    return Prepared(series, aligned, split, settings, features_of(aligned, settings))


def fit_forecaster(
    network: Forecaster, prepared: Prepared, settings: FitSettings, run: Path, resume: bool
) -> FitResult:
    """Train on what comes before validation; keep the weights with the least loss one step ahead on validation."""
    features, begins, split = prepared.features, prepared.aligned.begins, prepared.split
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

    def loss(quantiles: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return quantile_loss(quantiles, target, network.settings.quantiles)

    return fit(network, loss, streams, validate, settings, run, resume)


@contextmanager
def exported(network: Forecaster) -> Iterator[ExportedForecaster]:
    """The network as the graphs it will be served as, for the time of the block."""
    with tempfile.TemporaryDirectory() as folder:
        export_forecaster(network, Path(folder))
        yield ExportedForecaster(Path(folder))


def set_spread(
    network: Forecaster, prepared: Prepared, settings: EvaluationSettings, seed: int
) -> tuple[float, float, Forecaster]:
    """The factor on all gaps between quantiles that covers validation as wanted, what it covers, and the network.

    Covered: on the mean of one step ahead and free-running forecasts, which no single factor sets right together.
    """
    split = prepared.split
    origins = rolling_origins(split.validation, split.test, settings.horizon, settings.stride or settings.horizon)

    def coverage_of(candidate: Forecaster) -> float:
        with exported(candidate) as model:
            found = backtest(model, prepared.aligned, origins, settings.horizon, SPREAD_PATHS, seed)
        # Both are used: the one for forecasts, the other for anomaly scores.
        return (coverage(found.forecasts, 0.1, 0.9) + coverage_one_step(found.pit, 0.1, 0.9)) / 2

    typical = typical_raw(network, torch.from_numpy(prepared.features.features[:, split.validation : split.test]))
    with waiting("setting the spread") as advanced:
        factor, covered = find_spread(network, typical, coverage_of, settings.cover, advanced)
    return factor, covered, with_spread(network, factor, typical)


def measure(
    network: Forecaster, prepared: Prepared, settings: EvaluationSettings, seed: int, first: int, end: int
) -> Evaluation:
    """The network over [first, end) of the aligned axis, through exported graphs, beside the baselines."""
    frequency = prepared.series.frequency
    with exported(network) as model, waiting("forecasting") as advanced:
        return evaluate_forecaster(
            model,
            prepared.aligned,
            first,
            end,
            horizon=settings.horizon,
            stride=settings.stride or settings.horizon,
            paths=settings.paths,
            seed=seed,
            seasons=seasons_of(settings, frequency),
            metric_season=metric_season(frequency),
            advanced=advanced,
        )


def described(prepared: Prepared, found: Evaluation) -> dict[str, Any]:
    """The evaluation as plain values, its sample forecasts with the names and times of the series."""
    return found.to_dict() | {"samples": [_with_name_and_time(prepared, sample) for sample in found.samples]}


def _with_name_and_time(prepared: Prepared, sample: SampleForecast) -> dict[str, Any]:
    series = prepared.series
    origin = sample.origin - (series.length - int(series.ends[sample.series]))  # on the axis of the file
    begin = origin - len(sample.history)
    first = None if series.first is None else format_timestamp(series.frequency.timestamps(series.first, begin, 1)[0])
    return {
        "id": series.ids[sample.series],
        "first": first,
        "history": sample.history,
        "actual": sample.actual,
        "quantiles": sample.quantiles,
    }
