"""Parity of what a stream remembers of how well it was foretold: conformal factors and anomaly scores.

Used by the parity checks of every kind of forecaster; quantiles come from PyTorch, on the scale of the features.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from service.contract.manifest import StateLayout
from training.export.parity import ParityError, require_close
from training.export.runner import ExportedForecaster, Named
from training.networks import conformal
from training.networks.anomaly_likelihood import AnomalySettings, Array, anomaly_likelihood

_MARGIN = 1e-5  # how near to the edge of an interval, in units of the scale, a value may count as inside or outside


def score_error(where: str, found: Array, surprise: Array, settings: AnomalySettings) -> float:
    """Largest error of scores (B, T) of streams that begin here, of surprises (B, T).

    Raises:
        ParityError: it is larger than tolerated.
    """
    expected, _ = anomaly_likelihood(surprise, settings)
    missing = np.isnan(expected)
    if not np.array_equal(missing, np.isnan(found)):
        raise ParityError(f"{where}: anomaly_score: expected it missing where nothing was foretold or observed")
    return require_close(f"{where}: anomaly_score", np.where(missing, 0, found - expected))


def factors_before(graphs: ExportedForecaster, layout: StateLayout, rows: Array, inputs: Named) -> Array:
    """Conformal factors (B, T, 2) in the rows before each step of timed inputs (B, T, …), and after the last: T + 1.

    Ones, where the rows have none.
    """
    steps = inputs["target"].shape[1]
    field = next((field for field in layout.fields if field.name == "conformal"), None)
    if field is None:
        return np.ones((len(rows), steps + 1, conformal.FACTORS), np.float32)
    found = [rows[:, field.offset : field.offset + field.size]]
    for step in range(steps):
        piece = {name: array[:, step : step + 1] for name, array in inputs.items()}
        rows = graphs.run("observe", {**piece, "state": rows})["next_state"]
        found.append(rows[:, field.offset : field.offset + field.size])
    return np.stack(found, 1)


def require_factors(where: str, found: Array, z: Array, quantiles: Array, levels: Sequence[float], rate: float) -> None:
    """Check factors (B, T + 1, 2) before and after values z (B, T) of which quantiles (B, T, Q) told.

    Raises:
        ParityError: at some step they are not what that step makes of those before it.
    """
    for step in range(z.shape[1]):
        before, after, values, told = found[:, step], found[:, step + 1], z[:, step], quantiles[:, step]
        # A value on an interval's edge may be taken for either side of it.
        possible = [
            conformal.advance(before, values + shift * (1 + np.abs(values)), told, levels, rate)
            for shift in np.array([-_MARGIN, 0, _MARGIN], np.float32)
        ]
        if not np.any([np.isclose(after, one, rtol=1e-6) for one in possible], axis=0).all():
            raise ParityError(f"{where}: conformal factors after step {step}: expected {possible[1]}, got {after}")
