"""Observe frames as the benchmarks send them: the same step again and again, in the service's binary layout."""

from __future__ import annotations

import numpy as np

from benchmarks.inputs import step_inputs
from benchmarks.models import COVARIATES, QUANTILES
from service.protocols.native.frames import HEADER, MAGIC, OBSERVE, VERSION


def observe_frame(steps: int) -> bytes:
    """So many steps of one session."""
    numbers = np.tile(np.array(step_inputs(0), "<f4"), (steps, 1))  # (T, 1 + K)
    return HEADER.pack(MAGIC, VERSION, OBSERVE, steps, 1 + len(COVARIATES), 0, 0, -1, 0) + numbers.tobytes()


def answer_bytes(steps: int) -> int:
    """How many bytes answer it."""
    return HEADER.size + 4 * steps * (QUANTILES + 1)
