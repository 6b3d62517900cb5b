"""Detectors for the Numenta benchmark: published models, the general one without its network, and simple ones."""

from __future__ import annotations

from math import erfc, sqrt
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.contract.manifest import load_manifest
from training.export import ExportedForecaster
from training.networks.anomaly_likelihood import anomaly_likelihood, spread_levels, surprise_of
from training.networks.any_series import AnySeriesSettings
from training.networks.expert_features import expert_features

Values = NDArray[np.float64]

WINDOW, RENEWED = 6400, 100
"""Values that the windowed Gaussian is fitted to, and between two fits of a full window, as the benchmark sets them."""
PIECE = 1024


def published(folder: Path, streams: list[Values]) -> list[Values]:
    """The anomaly scores of a published model that takes one series at a time, streams side by side."""
    model = ExportedForecaster(folder)
    target = _side_by_side(streams)
    told = load_manifest(folder).forecast
    unknown = len(told.static_covariates) if told is not None else 0
    static = np.full((len(streams), unknown), np.nan, np.float32) if unknown else None
    rows = model.initial(static, len(streams))
    found = []
    for start in range(0, target.shape[1], PIECE):
        out = model.run("observe", {"state": rows, "target": target[:, start : start + PIECE]})
        rows = out["next_state"]
        found.append(out["anomaly_score"])
    score = np.concatenate(found, 1)
    return [score[row, : len(values)].astype(np.float64) for row, values in enumerate(streams)]


def without_network(settings: AnySeriesSettings, streams: list[Values]) -> list[Values]:
    """The same likelihood of surprises where the experts' mixture is the expected value and its error the spread."""
    features = expert_features(_side_by_side(streams), settings.experts)
    low, _, high = spread_levels(settings.quantiles)
    quantiles = np.zeros(len(settings.quantiles), np.float32)
    quantiles[low], quantiles[high] = -1.0, 1.0
    surprise = surprise_of(features.z, quantiles, settings.quantiles, settings.anomaly, features.beyond)
    score, _ = anomaly_likelihood(surprise, settings.anomaly)
    return [score[row, : len(values)].astype(np.float64) for row, values in enumerate(streams)]


def windowed_gaussian(values: Values) -> Values:
    """Tail probability under a normal distribution fitted to the last values."""
    scores = np.zeros(len(values))
    mean = deviation = 0.0
    for step, value in enumerate(values):
        if step:
            scores[step] = 1 - 0.5 * erfc(abs(value - mean) / max(deviation, 1e-6) / sqrt(2))
        if step < WINDOW or step % RENEWED == 0:
            window = values[max(step + 1 - WINDOW, 0) : step + 1]
            mean, deviation = float(window.mean()), float(window.std())
    return scores


def at_random(values: Values, seed: int) -> Values:
    """Uniform noise."""
    return np.random.default_rng(seed).random(len(values))


def _side_by_side(streams: list[Values]) -> NDArray[np.float32]:
    target = np.full((len(streams), max(map(len, streams))), np.nan, np.float32)
    for row, values in zip(target, streams, strict=True):
        row[: len(values)] = values
    return target
