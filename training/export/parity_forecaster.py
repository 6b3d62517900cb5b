"""Parity of an exported forecaster with its network: predictions, scores, samples and state, on awkward series."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from service.contract.calendar import calendar_width
from training.export.exported import Exported, Verified
from training.export.parity import BATCHES, LENGTHS, check_exactness, require_close, require_same_bits
from training.export.runner import ExportedForecaster, Named
from training.networks.causal_features import Array, causal_features
from training.networks.forecaster import Forecaster, ForecasterSettings
from training.networks.quantile_head import pit, quantile_function

_VALUE_MARGIN = 1e-5  # how far apart, in units of the scale, two values may lie and still count as the same


def forecaster_parity(network: Forecaster, exported: Exported) -> Verified:
    """The export, once it is shown to compute what the network computes.

    Compared at several batch sizes and lengths: quantiles, pit and samples with PyTorch; the whole with pieces and
    single steps, a batch with its rows alone, and generating with observing what was generated, bit for bit.

    Raises:
        ParityError: the first check that fails, and by how much.
    """
    graphs = ExportedForecaster(exported.folder)
    network = copy.deepcopy(network).cpu().eval()
    errors = [_check(network, graphs, batch, length) for batch in BATCHES for length in LENGTHS]
    return Verified(exported, max(errors))


@dataclass(frozen=True)
class _Series:
    """Random inputs of B series over T steps."""

    target: Array
    known: dict[str, Array]
    """calendar (B, T, C) and covariates (B, T, K), where the settings name some."""
    static: Array | None

    def part(self, start: int, end: int | None = None) -> Named:
        """The timed inputs of some steps, but for the target."""
        return {name: array[:, start:end] for name, array in self.known.items()}


def _check(network: Forecaster, graphs: ExportedForecaster, batch: int, length: int) -> float:
    """Largest error of one comparison: a past, `length` observed steps, and as many generated ones."""
    settings = network.settings
    past = settings.max_lag + 8
    rng = np.random.default_rng(batch * 1000 + length)
    series = _random_series(settings, batch, past + 2 * length, rng)
    rows = graphs.initial(series.static, batch)
    before = graphs.run("observe", {"state": rows, "target": series.target[:, :past], **series.part(0, past)})
    observed = _observe(graphs, series, before["next_state"], past, past + length)
    generated = _generate(graphs, series, observed["next_state"], past + length, rng)
    target = np.concatenate([series.target[:, : past + length], generated["samples"]], axis=1)
    expected = _Expected.of(network, series, target)
    found = {key: np.concatenate([before[key], observed[key]], axis=1) for key in ("quantiles", "pit")}
    where = f"batch {batch}, length {length}"
    return max(
        expected.quantile_error(where, found["quantiles"]),
        expected.pit_error(where, found["pit"], series.target[:, : past + length]),
        expected.sample_error(where, generated["samples"], generated["uniforms"]),
    )


def _observe(graphs: ExportedForecaster, series: _Series, rows: Array, start: int, end: int) -> Named:
    inputs = {"state": rows, "target": series.target[:, start:end], **series.part(start, end)}
    return check_exactness(graphs, "observe", inputs, [name for name in inputs if name != "state"])


def _generate(graphs: ExportedForecaster, series: _Series, rows: Array, start: int, rng: np.random.Generator) -> Named:
    """Samples for the rest of the steps, the uniforms they came from, and a state equal to having observed them."""
    uniforms = rng.uniform(1e-4, 1 - 1e-4, (len(rows), series.target.shape[1] - start)).astype(np.float32)
    inputs = {"state": rows, "uniforms": uniforms, **series.part(start)}
    generated = check_exactness(graphs, "generate", inputs, [name for name in inputs if name != "state"])
    observed = graphs.run("observe", {"state": rows, "target": generated["samples"], **series.part(start)})
    name = f"generating {uniforms.shape[1]} steps against observing them"
    require_same_bits(name, {"next_state": generated["next_state"]}, {"next_state": observed["next_state"]})
    return {"samples": generated["samples"], "uniforms": uniforms}


@dataclass(frozen=True)
class _Expected:
    """What PyTorch predicts for each step, on the scale of the features, and the scale."""

    settings: ForecasterSettings
    z: torch.Tensor
    """(B, T, Q), NaN where nothing was observed before."""
    mean: Array
    sigma: Array

    @classmethod
    def of(cls, network: Forecaster, series: _Series, target: Array) -> _Expected:
        calendar, covariates = series.known.get("calendar"), series.known.get("covariates")
        causal = causal_features(target, calendar, covariates, series.static, network.settings)
        with torch.no_grad():
            features = torch.from_numpy(causal.features)
            quantiles, _ = network(features, network.recurrence.initial_state(len(target)))
        seen = np.cumsum(~np.isnan(target), axis=1) - ~np.isnan(target) > 0
        z = torch.where(torch.from_numpy(seen)[..., None], quantiles, torch.nan)
        return cls(network.settings, z, causal.mean, causal.sigma)

    def quantile_error(self, where: str, quantiles: Array) -> float:
        """Largest error of quantiles (B, T, Q), relative to the scale and to themselves."""
        count = quantiles.shape[1]
        expected = self.mean[:, :count, None] + self.sigma[:, :count, None] * self.z[:, :count].numpy()
        return require_close(f"{where}: quantiles", self._relative(expected, quantiles))

    def pit_error(self, where: str, found: Array, target: Array) -> float:
        """Largest error of pit (B, T), beyond what a tiny shift of the value would explain.

        Where quantiles lie close together the transform is steep, and rounding of the value shows.
        """
        count = found.shape[1]
        z = torch.from_numpy((target - self.mean[:, :count]) / self.sigma[:, :count])
        margin = _VALUE_MARGIN * (1 + z.abs())
        below, above = (pit(self.z[:, :count], self.settings.quantiles, z + shift) for shift in (-margin, margin))
        error = np.maximum(below.numpy() - found, found - above.numpy())
        return require_close(f"{where}: pit", np.maximum(_both_missing_is_zero(below.numpy(), found, error), 0))

    def sample_error(self, where: str, samples: Array, uniforms: Array) -> float:
        """Largest error of samples (B, T), given the ones before; relative to the scale and to themselves."""
        count = samples.shape[1]
        z = quantile_function(self.z[:, -count:], self.settings.quantiles, torch.from_numpy(uniforms))
        expected = self.mean[:, -count:] + self.sigma[:, -count:] * z.numpy()
        scale = np.abs(expected) + self.sigma[:, -count:]
        error = _both_missing_is_zero(expected, samples, (samples - expected) / scale)
        return require_close(f"{where}: samples", error)

    def _relative(self, expected: Array, found: Array) -> Array:
        scale = np.abs(expected) + self.sigma[:, : found.shape[1], None]
        return _both_missing_is_zero(expected, found, (found - expected) / scale)


def _both_missing_is_zero(expected: Array, found: Array, error: Array) -> Array:
    return np.where(np.isnan(expected) & np.isnan(found), np.float32(0), error)


def _random_series(settings: ForecasterSettings, batch: int, length: int, rng: np.random.Generator) -> _Series:
    known: dict[str, Array] = {}
    if settings.calendar:
        angles = rng.uniform(0, 2 * np.pi, (batch, length, calendar_width(settings.calendar)))
        known["calendar"] = np.sin(angles).astype(np.float32)
    if settings.covariates:
        known["covariates"] = _random_covariates(settings, batch, length, rng)
    static = _random_static(settings, batch, rng) if settings.static else None
    return _Series(_random_target(batch, length, rng), known, static)


def _random_target(batch: int, length: int, rng: np.random.Generator) -> Array:
    """Waves with noise at many scales and levels, with gaps; among them what streams in practice go wrong with."""
    steps = np.arange(length)
    scale = 10 ** rng.uniform(-3, 5, (batch, 1))
    wave = np.sin(steps / rng.uniform(1, 20, (batch, 1))) + 0.3 * rng.standard_normal((batch, length))
    target = scale * (rng.normal(0, 3, (batch, 1)) + wave)
    target[rng.random((batch, length)) < 0.1] = np.nan
    if batch > 2:
        target[1, : length // 2] = np.nan  # begins late
        target[2] = 0  # never moves
        target[0, length // 3] *= 1000  # an outlier
    if batch > 4:
        target[3] = np.nan  # never begins
        target[4, length // 2 :] = np.nan  # falls silent
    return target.astype(np.float32)


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
