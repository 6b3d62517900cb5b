"""A forecaster of known arithmetic that takes what DeepAR's documented requests hold."""

from __future__ import annotations

from pathlib import Path

from service.contract.manifest import StaticCovariate
from tests import known_models

DEEPAR = "deepar"
HORIZON = 24
"""The running sum's prediction length."""


def write_deepar(folder: Path) -> Path:
    """A daily forecaster with two categories and one feature that is known ahead; returns the folder of models."""
    known_models.running_sum(
        folder,
        name=DEEPAR,
        frequency="D",
        calendar=("day_of_week",),
        future_covariates=("promotion",),
        static_covariates=(
            StaticCovariate(name="store", categories=("a", "b", "c")),
            StaticCovariate(name="kind", categories=("w", "x", "y", "z", "?")),
        ),
    )
    return folder
