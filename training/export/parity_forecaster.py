"""Parity of an exported forecaster with its network: predictions, scores, samples and state, on awkward series."""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray

from service.contract.manifest import StateLayout
from training.export.exported import Exported, Verified
from training.export.parity import BATCHES, LENGTHS
from training.export.parity_course import follow
from training.export.parity_expected import Expected
from training.export.parity_series import Series, random_calendar, random_target
from training.export.runner import ExportedForecaster
from training.networks.causal_features import Array, causal_features
from training.networks.conformal import adjusted
from training.networks.ensemble import AnyForecaster
from training.networks.forecaster import ForecasterSettings


def forecaster_parity(network: AnyForecaster, exported: Exported) -> Verified:
    """The export, once it is shown to compute what the network computes.

    Compared at several batch sizes and lengths: quantiles, pit, anomaly scores, conformal factors and samples with
    PyTorch; the whole with pieces and single steps, a batch with its rows alone, and generating with observing what
    was generated, bit for bit.

    Raises:
        ParityError: the first check that fails, and by how much.
    """
    graphs = ExportedForecaster(exported.folder)
    network = copy.deepcopy(network).cpu().eval()
    errors = [_check(network, graphs, exported.state, batch, length) for batch in BATCHES for length in LENGTHS]
    return Verified(exported, max(errors))


def _check(network: AnyForecaster, graphs: ExportedForecaster, layout: StateLayout, batch: int, length: int) -> float:
    """Largest error of one comparison: a past, `length` observed steps, and as many generated ones."""
    settings = network.settings
    past = max(settings.max_lag, 2 * settings.anomaly.warm_up) + 8
    rng = np.random.default_rng(batch * 1000 + length)
    series = _random_series(settings, batch, past + 2 * length, rng)
    course = follow(graphs, layout, series, graphs.initial(series.static, batch), past, length, rng)
    expected = _expected(network, series, course.target, course.factors[:, :-1])
    return course.largest_error(expected, settings.conformal)


def _expected(network: AnyForecaster, series: Series, target: Array, factors: Array) -> Expected:
    calendar, covariates = series.known.get("calendar"), series.known.get("covariates")
    settings = network.settings
    causal = causal_features(target, calendar, covariates, series.static, settings)
    with torch.no_grad():
        features = torch.from_numpy(causal.features)
        quantiles, _ = network(features, network.initial_state(len(target)))
    seen = np.cumsum(~np.isnan(target), axis=1) - ~np.isnan(target) > 0
    told = np.where(seen[..., None], quantiles.numpy(), np.float32(np.nan))
    z = torch.from_numpy(adjusted(told, factors, settings.quantiles) if settings.conformal else told)
    value_z = (target - causal.mean) / causal.sigma
    return Expected(settings.quantiles, settings.anomaly, told, z, value_z, causal.mean, causal.sigma)


def _random_series(settings: ForecasterSettings, batch: int, length: int, rng: np.random.Generator) -> Series:
    known: dict[str, Array] = {}
    if settings.calendar:
        known["calendar"] = random_calendar(settings.calendar, batch, length, rng)
    if settings.covariates:
        known["covariates"] = _random_covariates(settings, batch, length, rng)
    static = _random_static(settings, batch, rng) if settings.static else None
    return Series(random_target(batch, length, rng), known, static)


def _random_covariates(settings: ForecasterSettings, batch: int, length: int, rng: np.random.Generator) -> Array:
    mean, std = (np.array([getattr(scale, name) for scale in settings.covariates]) for name in ("mean", "std"))
    values = mean + std * rng.standard_normal((batch, length, len(settings.covariates)))
    values[rng.random(values.shape) < 0.1] = np.nan
    return values.astype(np.float32)


def _random_static(settings: ForecasterSettings, batch: int, rng: np.random.Generator) -> Array:
    columns: list[NDArray[np.float64]] = []
    for encoding in settings.static:
        if encoding.categories is None:
            numbers = encoding.mean + encoding.std * rng.standard_normal(batch)
            columns.append(np.where(rng.random(batch) < 0.2, np.nan, numbers))
        else:
            columns.append(rng.integers(-1, len(encoding.categories), batch).astype(np.float64))
    return np.stack(columns, 1).astype(np.float32)
