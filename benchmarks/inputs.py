"""The numbers that sessions are fed: the same for every server, other ones for every session."""

from __future__ import annotations

import numpy as np

from benchmarks.models import COVARIATES


def step_inputs(session: int) -> list[float]:
    """A value and its covariates, (8,), each of four decimals."""
    return [round(float(x), 4) for x in np.random.default_rng(session).normal(size=1 + len(COVARIATES))]
