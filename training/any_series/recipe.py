"""The steps of training the general model: read, draw a corpus, fit, measure. The command orders them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.any_series.corpus import Corpus, CorpusSettings, make_corpus
from training.data.alignment import AlignedSeries
from training.data.series_streams import SeriesStreams
from training.errors import TrainingError
from training.evaluation.forecast_evaluation import Evaluation, evaluate_forecaster
from training.export import ExportedForecaster
from training.export.any_series import export_any_series
from training.fit import FitResult, FitSettings, fit
from training.networks.any_series import AnySeries, AnySeriesSettings
from training.networks.expert_features import expert_features
from training.networks.quantile_head import quantile_loss
from training.networks.recurrence import Cell
from training.waiting import waiting

Array = NDArray[np.float32]

AT_ONCE = 64
"""Series whose features are made, or which are run, at once."""
HISTORY = 4
"""Longest lags that a measured series is run for before its forecast."""


def _setting(default: Any, says: str) -> Any:
    return field(default=default, metadata={"help": says})


def _fit_default(name: str, default: Any) -> Any:
    return field(default=default, metadata=FitSettings.__dataclass_fields__[name].metadata)


@dataclass(frozen=True)
class AnySeriesNetworkSettings:
    """The network's size; which experts there are is the model's own affair."""

    cell: Cell = _setting("LSTM", "RNN, LSTM or GRU")
    hidden_size: int = _setting(64, "width of the recurrence")
    layers: int = _setting(1, "recurrent layers on top of one another")
    conformal: float = _setting(0.02, "rate at which every stream widens or narrows its own intervals; 0: not at all")

    def __post_init__(self) -> None:
        if not 0 <= self.conformal < 1:
            raise TrainingError(f"conformal: expected a rate from 0 to below 1, got {self.conformal}")

    def settled(self) -> AnySeriesSettings:
        """Settings of the network."""
        return AnySeriesSettings(
            cell=self.cell, hidden_size=self.hidden_size, layers=self.layers, conformal=self.conformal
        )


@dataclass(frozen=True)
class AnySeriesFitSettings(FitSettings):
    """The settings of a fit, with defaults for a corpus of a few million values."""

    epochs: int = _fit_default("epochs", 12)
    bptt_length: int = _fit_default("bptt_length", 96)
    batch_size: int = _fit_default("batch_size", 48)
    learning_rate: float = _fit_default("learning_rate", 3e-3)
    warmup_steps: int = _fit_default("warmup_steps", 50)


@dataclass(frozen=True)
class AnySeriesEvaluationSettings:
    """What is held out, and how the model is measured on it."""

    validation: float = _setting(0.07, "share of the corpus that is not trained on and chooses the best epoch")
    horizon: int = _setting(48, "last steps of every real series, held out to measure forecasts")
    paths: int = _setting(100, "sampled futures per forecast")
    measured: int = _setting(100, "real series whose end is forecast, at most")
    anomaly_threshold: float = _setting(0.8, "score from which a value is flagged, unless a session sets its own")

    def __post_init__(self) -> None:
        if not 0 < self.validation < 1 or not 0 < self.anomaly_threshold < 1:
            raise TrainingError("validation, anomaly-threshold: expected shares between 0 and 1")
        if self.horizon < 1 or self.paths < 2 or self.measured < 1:
            raise TrainingError("horizon, paths, measured: expected at least 1, 2 and 1")


@dataclass(frozen=True)
class Prepared:
    """The corpus as the network sees it, and the real series with their ends."""

    settings: AnySeriesSettings
    corpus: Corpus
    features: Array
    """(N, T, F)"""
    target_z: Array
    """(N, T)"""
    training: NDArray[np.int64]
    validation: NDArray[np.int64]
    """Numbers of the series on which the best epoch is chosen."""
    real: list[Array]


def prepare(
    real: list[Array],
    network: AnySeriesNetworkSettings,
    corpus: CorpusSettings,
    evaluation: AnySeriesEvaluationSettings,
    seed: int,
) -> Prepared:
    """Hold out the ends of real series, draw the corpus and make its features."""
    settings = network.settled()
    long = [values for values in real if len(values) > 2 * evaluation.horizon]
    if not long:
        raise TrainingError(f"data: expected series of more than {2 * evaluation.horizon} values")
    drawn = make_corpus([values[: -evaluation.horizon] for values in long], corpus, seed)
    features = np.empty((*drawn.target.shape, settings.experts.feature_count), np.float32)
    target_z = np.empty(drawn.target.shape, np.float32)
    with waiting("features of the corpus") as advanced:
        for start in range(0, len(features), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            made = expert_features(drawn.target[part], settings.experts, drawn.season[part])
            features[part], target_z[part] = made.features, made.target_z
            advanced(min((start + AT_ONCE) / len(features), 1.0))
    order = np.random.default_rng((seed, 6)).permutation(len(features))
    kept = max(round(evaluation.validation * len(order)), 1)
    return Prepared(settings, drawn, features, target_z, np.sort(order[kept:]), np.sort(order[:kept]), long)


def fit_any_series(
    network: AnySeries, prepared: Prepared, settings: FitSettings, run: Path, *, resume: bool
) -> FitResult:
    """Train on all but the validation series; keep the weights with the least loss on those."""
    levels = prepared.settings.quantiles
    rows = prepared.training
    streams = SeriesStreams(
        prepared.features[rows],
        prepared.target_z[rows],
        prepared.corpus.begins[rows],
        prepared.target_z.shape[1],
        settings.batch_size,
        settings.bptt_length,
        settings.bptt_stride,
        settings.seed,
    )

    def loss(quantiles: Tensor, target: Tensor) -> Tensor:
        return quantile_loss(quantiles, target, levels)

    return fit(network, loss, streams, _loss_on(network, prepared), settings, run, resume)


def _loss_on(network: AnySeries, prepared: Prepared) -> Callable[[], float]:
    """A function that gives the quantile loss one step ahead on the validation series, each run from its first step.

    Before its first value a series has features of nothing, which leave the state nearly where it began.
    """
    features = torch.from_numpy(prepared.features[prepared.validation])
    target = torch.from_numpy(prepared.target_z[prepared.validation])

    @torch.no_grad()
    def loss() -> float:
        device = next(network.parameters()).device
        found = []
        for start in range(0, len(features), AT_ONCE):
            part = features[start : start + AT_ONCE].to(device)
            quantiles, _ = network(part, network.initial_state(len(part)))
            own = target[start : start + AT_ONCE].to(device)
            found.append((float(quantile_loss(quantiles, own, prepared.settings.quantiles)), int((~own.isnan()).sum())))
        return sum(value * count for value, count in found) / max(sum(count for _, count in found), 1)

    return loss


def measure(network: AnySeries, prepared: Prepared, settings: AnySeriesEvaluationSettings, seed: int) -> Evaluation:
    """Forecasts of the held-out ends of real series, through exported graphs, beside the baselines."""
    aligned = _ends(prepared, settings)
    end = aligned.target.shape[1]
    with tempfile.TemporaryDirectory() as folder, waiting("forecasting") as advanced:
        export_any_series(network, Path(folder))
        return evaluate_forecaster(
            ExportedForecaster(Path(folder)),
            aligned,
            end - settings.horizon,
            end,
            horizon=settings.horizon,
            stride=settings.horizon,
            paths=settings.paths,
            seed=seed,
            seasons=(24, 168),
            metric_season=24,
            advanced=advanced,
        )


def _ends(prepared: Prepared, settings: AnySeriesEvaluationSettings) -> AlignedSeries:
    """The last stretch of some real series, spaced evenly among them, with no season told."""
    chosen = np.unique(np.linspace(0, len(prepared.real) - 1, settings.measured).astype(int))
    longest = HISTORY * prepared.settings.experts.history + settings.horizon
    parts = [prepared.real[index][-longest:] for index in chosen]
    target = np.full((len(parts), max(map(len, parts))), np.nan, np.float32)
    for row, part in zip(target, parts, strict=True):
        row[len(row) - len(part) :] = part
    begins = np.asarray((~np.isnan(target)).argmax(1), np.int64)
    return AlignedSeries(target, begins, static=np.full((len(target), 1), np.nan, np.float32))
