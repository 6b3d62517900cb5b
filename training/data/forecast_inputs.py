"""From loaded series to what a forecaster trains on: settings that fit the data, causal features, loss on a stretch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from training.data.alignment import AlignedSeries, Steps, groups_by_begin
from training.data.series import Array, SeriesSet
from training.networks.causal_features import CausalFeatures, causal_features, logarithm, running_statistics, scale_of
from training.networks.forecaster import CovariateScale, Forecaster, ForecasterSettings, StaticEncoding
from training.networks.quantile_head import quantile_loss

VALIDATION_BATCH = 64


def covariate_scales(series: SeriesSet, aligned: AlignedSeries, end: int) -> tuple[CovariateScale, ...]:
    """Mean and standard deviation of each known-future covariate before step `end`."""
    if aligned.covariates is None:
        return ()
    known = aligned.covariates[:, :end].astype(np.float64)
    scales = []
    for index, name in enumerate(series.covariate_names):
        values = known[..., index][~np.isnan(known[..., index])]
        scales.append(CovariateScale(name, *_mean_and_deviation(values)))
    return tuple(scales)


def static_encodings(series: SeriesSet) -> tuple[StaticEncoding, ...]:
    """How each static covariate enters the network: standardised over the series, or a column per category."""
    encodings = []
    for index, kind in enumerate(series.static_covariates):
        if kind.categories is not None:
            encodings.append(StaticEncoding(kind.name, categories=kind.categories))
            continue
        assert series.static is not None
        values = series.static[:, index].astype(np.float64)
        encodings.append(StaticEncoding(kind.name, *_mean_and_deviation(values[~np.isnan(values)])))
    return tuple(encodings)


def _mean_and_deviation(values: np.ndarray) -> tuple[float, float]:
    if not len(values):
        return 0.0, 1.0
    return float(values.mean()), float(values.std()) or 1.0


def log_scale_of(aligned: AlignedSeries, decay: float, end: int) -> tuple[float, float]:
    """Mean and standard deviation of the logarithm of the running scale before step `end`."""
    weight, mean, deviation = running_statistics(np.asarray(aligned.target[:, :end], np.float32), decay)
    return _mean_and_deviation(logarithm(scale_of(weight, mean, deviation)[weight > 0]).astype(np.float64))


def features_of(aligned: AlignedSeries, settings: ForecasterSettings) -> CausalFeatures:
    """Features of every step of every series."""
    return causal_features(aligned.target, aligned.calendar, aligned.covariates, aligned.static, settings)


def loss_between(
    network: Forecaster, features: Array, target_z: Array, begins: Steps, first: int, end: int
) -> Callable[[], float]:
    """A function that gives the quantile loss one step ahead over [first, end), each series run from its begin."""
    levels = network.settings.quantiles
    inputs, targets = torch.from_numpy(features), torch.from_numpy(target_z)
    groups = [torch.from_numpy(group) for group in groups_by_begin(begins, VALIDATION_BATCH)]

    @torch.no_grad()
    def loss() -> float:
        device = next(network.parameters()).device
        total, scored = 0.0, 0
        for group in groups:
            begin = int(begins[group[0]])
            state = network.initial_state(len(group))
            quantiles, _ = network(inputs[group, begin:end].to(device), state)
            target = targets[group, first:end].to(device)
            count = int((~torch.isnan(target)).sum())
            total += count * float(quantile_loss(quantiles[:, first - begin :], target, levels))
            scored += count
        return total / max(scored, 1)

    return loss
