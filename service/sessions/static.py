"""Static covariates: what a client says of a series, as the numbers that the model's `initial` graph takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from service.contract.frequency import Frequency
from service.contract.manifest import StaticCovariate
from service.engine.state_table import Rows
from service.errors import InputMismatch
from service.models.model import Model

StaticValues = Mapping[str, float | str]


SEASON = "season"
"""The static covariate that tells after how many steps a series repeats; of a told frequency, what is usual for it."""


def initial_row(model: Model, static: StaticValues | None, frequency: str | None = None) -> Rows:
    """The state row (S,) that a session or request with these static covariates starts from.

    Args:
        frequency: of the series, where it is told of one whose model only counts steps.

    Raises:
        InputMismatch: a name the model does not have, or a value of the wrong kind.
    """
    known = model.manifest.forecast.static_covariates if model.manifest.forecast else ()
    given = dict(static or {})
    unknown = sorted(given.keys() - {covariate.name for covariate in known})
    if unknown:
        names = ", ".join(covariate.name for covariate in known) or "none"
        raise InputMismatch(
            f"static_covariates: model {model.manifest.name} takes {names}, got {', '.join(unknown)}",
            parameter="static_covariates",
        )
    if not known:
        return model.initial()
    if frequency is not None and given.get(SEASON) is None and _takes_season(known):
        given[SEASON] = Frequency.parse(frequency).seasonality
    numbers = [_number(covariate.name, covariate.categories, given.get(covariate.name)) for covariate in known]
    return model.initial(np.array(numbers, np.float32))


def _takes_season(known: Sequence[StaticCovariate]) -> bool:
    return any(covariate.name == SEASON and covariate.categories is None for covariate in known)


_LARGEST = float(np.finfo(np.float32).max)


def _number(name: str, categories: tuple[str, ...] | None, value: float | str | None) -> float:
    """A covariate as the graph takes it: −1 stands for a category not seen in training, NaN for a missing number."""
    if categories is not None:
        return -1.0 if value is None or str(value) not in categories else float(categories.index(str(value)))
    if value is None:
        return float("nan")
    if isinstance(value, str):
        raise InputMismatch(
            f"static_covariates.{name}: expected a number, got the text {value[:60]!r}", parameter="static_covariates"
        )
    if not abs(value) <= _LARGEST:
        raise InputMismatch(
            f"static_covariates.{name}: expected a number of at most {_LARGEST:.4g}, got {value:g}",
            parameter="static_covariates",
        )
    return float(value)
