"""One comparison's course through a forecaster's graphs: a past, some steps observed, as many generated, all exact.

    rows ── past ──▶ before ── observed ──▶ ── generated ──▶ after

Shared by the parity checks of every kind of forecaster. Shapes: B series, T steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from service.contract.manifest import StateLayout
from training.export.parity_expected import Expected
from training.export.parity_memory import factors_before, require_factors
from training.export.parity_series import Series, generate_exactly, observe_exactly
from training.export.runner import ExportedForecaster, Named
from training.networks.causal_features import Array

_TOLD = ("quantiles", "pit", "anomaly_score")


@dataclass(frozen=True)
class Course:
    """What the graphs gave on the way."""

    where: str
    """Which comparison it is, for messages."""
    target: Array
    """(B, T): the values of past and observed steps, then those that were generated."""
    told: Named
    """What was told of past and observed steps."""
    factors: Array
    """(B, T + 1, 2): conformal factors before each step and after the last."""
    before: Array
    """Rows after the past."""
    observed: Array
    """Rows after the observed steps."""
    generated: Named

    def largest_error(self, expected: Expected, conformal: float) -> float:
        """The largest distance from what PyTorch makes of the same values.

        Args:
            conformal: the rate at which factors adapt; 0 where there are none.

        Raises:
            ParityError: one is too far.
        """
        if conformal:
            require_factors(self.where, self.factors, expected.value_z, expected.told, expected.levels, conformal)
        steps = self.told["pit"].shape[1]
        return max(
            expected.quantile_error(self.where, self.told["quantiles"]),
            expected.pit_error(self.where, self.told["pit"], self.target[:, :steps]),
            expected.score_error(self.where, self.told["anomaly_score"]),
            expected.sample_error(self.where, self.generated["samples"], self.generated["uniforms"]),
        )


def follow(
    graphs: ExportedForecaster,
    layout: StateLayout,
    series: Series,
    rows: Array,
    past: int,
    length: int,
    rng: np.random.Generator,
) -> Course:
    """Take `past` and `length` steps of series (B, past + 2 · length) in from fresh rows, and generate the rest.

    Raises:
        ParityError: something depends on how the steps are cut or on the batch, or generating on not observing.
    """
    before = graphs.run("observe", {"state": rows, "target": series.target[:, :past], **series.part(0, past)})
    observed = observe_exactly(graphs, series, before["next_state"], past, past + length)
    generated = generate_exactly(graphs, series, observed["next_state"], past + length, rng)
    target = np.concatenate([series.target[:, : past + length], generated["samples"]], axis=1)
    return Course(
        where=f"batch {len(rows)}, length {length}",
        target=target,
        told={name: np.concatenate([before[name], observed[name]], axis=1) for name in _TOLD},
        factors=factors_before(graphs, layout, rows, {"target": target, **series.part(0)}),
        before=before["next_state"],
        observed=observed["next_state"],
        generated=generated,
    )
