"""Causal features: what a forecaster sees at each step, computed from earlier observations alone.

The running scale advances one observation at a time with exactly the float32 operations of the exported graph
(`training.export.forecaster`), so that training and serving agree to the last bit of the features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.networks.forecaster import ForecasterSettings, StaticEncoding

Array = NDArray[np.float32]

CLIP = 20.0
LEAST_SCALE = 1e-30
LOG_ROOTS = 6
LOG_CLIP = 4.0


@dataclass(frozen=True)
class CausalFeatures:
    """Inputs and target of the network for every step, and the scale to go back to the series' own units."""

    features: Array
    """(N, T, F)"""
    target_z: Array
    """(N, T): the value to predict, normalised; NaN where missing or where nothing was observed before."""
    mean: Array
    """(N, T): running mean before each step."""
    sigma: Array
    """(N, T): running scale before each step; value = mean + sigma · z."""


def causal_features(
    target: Array,
    calendar: Array | None,
    covariates: Array | None,
    static: Array | None,
    settings: ForecasterSettings,
) -> CausalFeatures:
    """Features, normalised target and scale of N series at once.

    Args:
        target: (N, T) in the series' own units, NaN where missing.
        calendar: (T, C) or (N, T, C), from `service.contract.calendar`; None where the settings name none.
        covariates: (N, T, K), NaN where missing; None where the settings name none.
        static: (N, D_in), one number or category index (−1: unseen) per static covariate; None without.
    """
    target = np.asarray(target, np.float32)
    series, length = target.shape
    weight, mean, deviation = running_statistics(target, settings.decay)
    sigma = scale_of(weight, mean, deviation)
    values = lagged(target, settings.lags)  # (N, T, lags)
    missing = np.isnan(values)
    z = normalise(np.where(missing, mean[..., None], values), mean[..., None], sigma[..., None])
    columns: list[Array] = [z, (~missing).astype(np.float32), (np.float32(1) / (1 + weight))[..., None]]
    if settings.log_scale is not None:
        columns.append(log_scale_feature(sigma, settings.log_scale)[..., None])
    if settings.calendar:
        columns.append(_given("calendar", calendar))
    if settings.covariates:
        columns.append(encode_covariates(_given("covariates", covariates), settings))
    if settings.static:
        columns.append(encode_static(_given("static", static), settings.static)[:, None, :])
    full = [np.broadcast_to(column, (series, length, column.shape[-1])) for column in columns]
    features = np.concatenate(full, -1, dtype=np.float32)
    target_z = np.where(weight > 0, normalise(target, mean, sigma), np.float32(np.nan))
    return CausalFeatures(features, target_z, mean, sigma)


def running_statistics(target: Array, decay: float) -> tuple[Array, Array, Array]:
    """Weight, mean and mean absolute deviation (N, T) before each step, of the observations so far.

    Older observations count less by `decay` each; a missing one leaves all three as they were.
    """
    series, length = target.shape
    stack = np.zeros((3, length, series), np.float32)
    weight, mean, deviation = np.zeros((3, series), np.float32)
    for step, value in enumerate(np.ascontiguousarray(target.T)):
        stack[:, step] = weight, mean, deviation
        missing = np.isnan(value)
        error = value - mean
        size = np.where(weight == 0, np.float32(0), np.abs(error))
        heavier = weight * np.float32(decay) + np.float32(1)
        deviation = np.where(missing, deviation, deviation + (size - deviation) / heavier)
        mean = np.where(missing, mean, mean + error / heavier)
        weight = np.where(missing, weight, heavier)
    return stack[0].T, stack[1].T, stack[2].T


def scale_of(weight: Array, mean: Array, deviation: Array) -> Array:
    """The scale σ: the mean absolute deviation, held up by the mean while observations are few."""
    return np.maximum((weight * deviation + np.float32(0.5) * np.abs(mean)) / (weight + 2), np.float32(LEAST_SCALE))


def log_scale_feature(sigma: Array, standard: tuple[float, float]) -> Array:
    """The logarithm of a scale, less the mean and over the deviation given, kept within ±4 against strange units."""
    mean, deviation = np.array(standard, np.float32)
    return np.asarray(np.clip((logarithm(sigma) - mean) / deviation, -LOG_CLIP, LOG_CLIP), np.float32)


def logarithm(values: Array) -> Array:
    """Nearly the natural logarithm, (x^(1/64) − 1) · 64, of square roots alone (Box and Cox, 1964).

    A graph computes these alike for every value, which it does not promise of logarithms.
    """
    for _ in range(LOG_ROOTS):
        values = np.sqrt(values)
    return np.asarray((values - np.float32(1)) * np.float32(2**LOG_ROOTS), np.float32)


def normalise(values: Array, mean: Array, sigma: Array) -> Array:
    """(values − mean) / sigma, kept within ±20 against outliers; NaN stays NaN."""
    with np.errstate(over="ignore"):
        return np.asarray(np.clip((values - mean) / sigma, -CLIP, CLIP), np.float32)


def lagged(target: Array, lags: tuple[int, ...]) -> Array:
    """(N, T, lags): at step t the values k steps earlier, NaN before the beginning."""
    values = np.full((*target.shape, len(lags)), np.nan, np.float32)
    for index, lag in enumerate(lags):
        values[:, lag:, index] = target[:, : max(target.shape[1] - lag, 0)]
    return values


def encode_covariates(covariates: Array, settings: ForecasterSettings) -> Array:
    """(N, T, K) standardised; a missing value becomes 0, the mean."""
    mean = np.array([scale.mean for scale in settings.covariates], np.float32)
    std = np.array([scale.std for scale in settings.covariates], np.float32)
    standardised = (np.asarray(covariates, np.float32) - mean) / std
    return np.where(np.isnan(standardised), np.float32(0), standardised)


def encode_static(static: Array, encodings: tuple[StaticEncoding, ...]) -> Array:
    """(N, D): numbers standardised with a missing one 0, categories one-hot with an unseen one all zeros."""
    columns = []
    for value, encoding in zip(np.asarray(static, np.float32).T, encodings, strict=True):
        if encoding.categories is None:
            number = (value - np.float32(encoding.mean)) / np.float32(encoding.std)
            columns.append(np.where(np.isnan(number), np.float32(0), number)[:, None])
        else:
            columns.append((value[:, None] == np.arange(encoding.width)).astype(np.float32))
    return np.concatenate(columns, 1)


def _given(name: str, array: Array | None) -> Array:
    if array is None:
        raise ValueError(f"{name}: expected an array, because the settings name {name}; got none")
    return array
