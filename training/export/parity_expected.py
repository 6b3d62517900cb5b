"""What a network makes of series, as PyTorch computes it, and how far a graph's outputs are from it.

Shared by the parity checks of every kind of forecaster. Shapes: B series, T steps, Q quantile levels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from training.export.parity import require_close
from training.export.parity_memory import score_error
from training.networks.anomaly_likelihood import AnomalySettings, surprise_of
from training.networks.causal_features import Array
from training.networks.quantile_head import pit, quantile_function

_VALUE_MARGIN = 1e-5  # how far apart, in units of the scale, two values may lie and still count as the same


@dataclass(frozen=True)
class Expected:
    """What PyTorch predicts for each step, on the scale of the features, and the scale."""

    levels: tuple[float, ...]
    anomaly: AnomalySettings
    told: Array
    """(B, T, Q): quantiles as the network gives them, NaN where nothing was observed before."""
    z: torch.Tensor
    """(B, T, Q): the same with the streams' conformal factors."""
    value_z: Array
    """(B, T): what came."""
    mean: Array
    sigma: Array
    beyond: Array | None = None
    """(B, T): by how many scales each value lies beyond those before, where that counts."""

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
        below, above = (pit(self.z[:, :count], self.levels, z + shift) for shift in (-margin, margin))
        error = np.maximum(below.numpy() - found, found - above.numpy())
        return require_close(f"{where}: pit", np.maximum(both_missing_is_zero(below.numpy(), found, error), 0))

    def score_error(self, where: str, found: Array) -> float:
        """Largest error of anomaly scores (B, T)."""
        count = found.shape[1]
        beyond = None if self.beyond is None else self.beyond[:, :count]
        z, told = self.value_z[:, :count], self.told[:, :count]
        return score_error(where, found, surprise_of(z, told, self.levels, self.anomaly, beyond), self.anomaly)

    def sample_error(self, where: str, samples: Array, uniforms: Array) -> float:
        """Largest error of samples (B, T), given the ones before; relative to the scale and to themselves."""
        count = samples.shape[1]
        z = quantile_function(self.z[:, -count:], self.levels, torch.from_numpy(uniforms))
        expected = self.mean[:, -count:] + self.sigma[:, -count:] * z.numpy()
        scale = np.abs(expected) + self.sigma[:, -count:]
        error = both_missing_is_zero(expected, samples, (samples - expected) / scale)
        return require_close(f"{where}: samples", error)

    def _relative(self, expected: Array, found: Array) -> Array:
        scale = np.abs(expected) + self.sigma[:, : found.shape[1], None]
        return both_missing_is_zero(expected, found, (found - expected) / scale)


def both_missing_is_zero(expected: Array, found: Array, error: Array) -> Array:
    """Errors, of which those are 0 where nothing was expected and nothing found."""
    return np.where(np.isnan(expected) & np.isnan(found), np.float32(0), error)
