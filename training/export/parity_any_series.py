"""Parity of an exported `any-series` network with itself in PyTorch: predictions, scores, samples and state."""

from __future__ import annotations

import copy

import numpy as np
import torch

from service.contract.manifest import StateLayout
from training.export.exported import Exported, Verified
from training.export.parity import BATCHES, LENGTHS
from training.export.parity_course import follow
from training.export.parity_expected import Expected
from training.export.parity_series import Series, random_target
from training.export.runner import ExportedForecaster
from training.networks.any_series import AnySeries
from training.networks.conformal import adjusted
from training.networks.expert_features import Array, expert_features

_SEASONS = (np.nan, 5, 24, 0, 1e9, 7.4, 1)
_WARMING = 48
"""Steps after the longest lag in which the last expert begins to count."""


def any_series_parity(network: AnySeries, exported: Exported) -> Verified:
    """The export, once it is shown to compute what the network computes.

    Compared as in `forecaster_parity`, on series with and without a season that was told.

    Raises:
        ParityError: the first check that fails, and by how much.
    """
    graphs = ExportedForecaster(exported.folder)
    network = copy.deepcopy(network).cpu().eval()
    errors = [_check(network, graphs, exported.state, batch, length) for batch in BATCHES for length in LENGTHS]
    return Verified(exported, max(errors))


def _check(network: AnySeries, graphs: ExportedForecaster, layout: StateLayout, batch: int, length: int) -> float:
    """Largest error of one comparison: a past, `length` observed steps, and as many generated ones."""
    settings = network.settings
    past = settings.experts.history + _WARMING
    rng = np.random.default_rng(batch * 1000 + length)
    season = rng.choice(np.array(_SEASONS, np.float32), (batch, 1))
    series = Series(random_target(batch, past + 2 * length, rng), {}, season)
    course = follow(graphs, layout, series, graphs.initial(season), past, length, rng)
    expected = _expected(network, course.target, season[:, 0], course.factors[:, :-1])
    return course.largest_error(expected, settings.conformal)


def _expected(network: AnySeries, target: Array, season: Array, factors: Array) -> Expected:
    settings = network.settings
    features = expert_features(target, settings.experts, season)
    with torch.no_grad():
        quantiles, _ = network(torch.from_numpy(features.features), network.initial_state(len(target)))
    seen = np.cumsum(~np.isnan(target), axis=1) - ~np.isnan(target) > 0
    told = np.where(seen[..., None], quantiles.numpy(), np.float32(np.nan))
    z = torch.from_numpy(adjusted(told, factors, settings.quantiles) if settings.conformal else told)
    return Expected(
        settings.quantiles, settings.anomaly, told, z, features.z, features.centre, features.sigma, features.beyond
    )
