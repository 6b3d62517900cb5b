"""Static covariates of a file as a published model knows them: in its order, its categories by their numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from service.contract.manifest import StaticCovariate
from training.data.series import Array, SeriesSet
from training.errors import TrainingError


def static_as_trained(series: SeriesSet, expected: Sequence[StaticCovariate]) -> Array | None:
    """(N, D) in the model's order; None where the model takes none.

    A category that the model does not know is −1. So is one that the file does not tell; a number is NaN then.

    Raises:
        TrainingError: a column holds numbers where the model has categories, or the other way round.
    """
    if not expected:
        return None
    found = {kind.name: index for index, kind in enumerate(series.static_covariates)}
    columns = []
    for covariate in expected:
        if series.static is None or covariate.name not in found:
            columns.append(np.full(len(series.ids), np.nan if covariate.categories is None else -1, np.float32))
        else:
            index = found[covariate.name]
            columns.append(_renumbered(series.static[:, index], series.static_covariates[index], covariate))
    return np.stack(columns, -1)


def _renumbered(column: Array, found: StaticCovariate, expected: StaticCovariate) -> Array:
    if (found.categories is None) != (expected.categories is None):
        wanted, got = ("numbers", "categories") if expected.categories is None else ("categories", "numbers")
        raise TrainingError(f"static {expected.name}: expected {wanted} as in training, got {got}")
    if found.categories is None or expected.categories is None:
        return column
    known = {category: index for index, category in enumerate(expected.categories)}
    numbers = [known.get(category, -1) for category in found.categories]
    return np.array([numbers[int(index)] if index >= 0 else -1 for index in column], np.float32)
