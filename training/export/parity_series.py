"""Series on which graphs are compared with networks: awkward ones, taken in and continued exactly in every bit.

Shapes: B series, T steps, C calendar columns, K covariates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from service.contract.calendar import calendar_width
from training.export.parity import check_exactness, require_same_bits
from training.export.runner import ExportedForecaster, Named
from training.networks.causal_features import Array


@dataclass(frozen=True)
class Series:
    """Random inputs of B series over T steps."""

    target: Array
    known: dict[str, Array]
    """calendar (B, T, C) and covariates (B, T, K), where the settings name some."""
    static: Array | None

    def part(self, start: int, end: int | None = None) -> Named:
        """The timed inputs of some steps, but for the target."""
        return {name: array[:, start:end] for name, array in self.known.items()}


def observe_exactly(graphs: ExportedForecaster, series: Series, rows: Array, start: int, end: int) -> Named:
    """What `observe` gives for some steps, the same however they are cut."""
    inputs = {"state": rows, "target": series.target[:, start:end], **series.part(start, end)}
    return check_exactness(graphs, "observe", inputs, [name for name in inputs if name != "state"])


def generate_exactly(
    graphs: ExportedForecaster, series: Series, rows: Array, start: int, rng: np.random.Generator
) -> Named:
    """Samples for the rest of the steps, the uniforms they came from, and rows equal to having observed them."""
    uniforms = rng.uniform(1e-4, 1 - 1e-4, (len(rows), series.target.shape[1] - start)).astype(np.float32)
    inputs = {"state": rows, "uniforms": uniforms, **series.part(start)}
    generated = check_exactness(graphs, "generate", inputs, [name for name in inputs if name != "state"])
    observed = graphs.run("observe", {"state": rows, "target": generated["samples"], **series.part(start)})
    name = f"generating {uniforms.shape[1]} steps against observing them"
    require_same_bits(name, {"next_state": generated["next_state"]}, {"next_state": observed["next_state"]})
    return {**generated, "uniforms": uniforms}


def random_target(batch: int, length: int, rng: np.random.Generator) -> Array:
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


def random_calendar(names: tuple[str, ...], batch: int, length: int, rng: np.random.Generator) -> Array:
    """Calendar features (B, T, C) of no calendar in particular."""
    return np.sin(rng.uniform(0, 2 * np.pi, (batch, length, calendar_width(names)))).astype(np.float32)
