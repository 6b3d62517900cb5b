"""Automatic exponential smoothing, ARIMA and Theta as baselines, fitted to each series alone by `statsforecast`.

The package is an optional extra and is imported when one of them is asked for. Shapes as in
`training.evaluation.metrics`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from training.errors import TrainingError
from training.evaluation.baselines import actual_values, filled_from_season_before, seasonal_naive
from training.evaluation.metrics import MEASURED_LEVELS, Array, Forecasts, Steps
from training.evaluation.parallel import in_processes

Statistical = Literal["AutoETS", "AutoETS_seasonal", "AutoARIMA", "AutoTheta"]
STATISTICAL: tuple[Statistical, ...] = get_args(Statistical)
SEASONAL = "ZZA"
"""Of the forms that AutoETS chooses among, those with an additive season. By itself it often takes one without a season
for hourly data, whose 24 further parameters its criterion weighs heavily, and is no better than the last value then."""

CONTEXT = 1000
"""Last values a fit takes, unless told otherwise: their time grows with the history, their accuracy hardly."""
ORIGINS_AT_ONCE = 8
"""Of one series, when every origin is fitted anew: small enough for progress and even loads."""


@dataclass(frozen=True)
class _Piece:
    """One series and some of its origins: what is fitted in one go."""

    name: Statistical
    values: Array
    """(T,)"""
    origins: Steps
    horizon: int
    season: int
    levels: tuple[float, ...]
    context: int
    refit: bool


def statistical_forecasts(
    name: Statistical,
    target: ArrayLike,
    origins: Steps,
    horizon: int,
    season: int,
    levels: Sequence[float] = MEASURED_LEVELS,
    *,
    refit: bool = True,
    context: int = CONTEXT,
    jobs: int = 1,
    advanced: Callable[[float], None] = lambda share: None,
) -> tuple[Forecasts, int]:
    """Forecasts of an automatic model, and at how many origins it failed and the seasonal naive stands in its place.

    Missing values are filled as for the seasonal naive: these models know none.

    Args:
        refit: choose and fit the model at each origin; otherwise at the first, and only the values go on.
        context: most values before an origin that a fit takes; 0: all.
        jobs: processes; see `training.evaluation.parallel`.

    Raises:
        TrainingError: the package is not installed.
    """
    _model(name, season)  # says at once that the package is absent
    values = np.asarray(target, np.float64)
    parts = max(len(origins) // ORIGINS_AT_ONCE, 1) if refit else 1
    pieces = [
        _Piece(name, series, some, horizon, season, tuple(levels), context, refit)
        for series in values
        for some in np.array_split(origins, parts)
    ]
    found = in_processes(_forecasts_of, pieces, jobs, advanced)
    quantiles = np.concatenate([quantiles for quantiles, _ in found]).reshape(len(values), len(origins), horizon, -1)
    actual = actual_values(values, origins, horizon)
    return Forecasts(actual, quantiles, tuple(levels)), sum(failed for _, failed in found)


def _forecasts_of(piece: _Piece) -> tuple[Array, int]:
    """(O, P, Q) of one series, and how many origins the model failed at."""
    filled, fitted, failed = _without_gaps(piece.values, piece.season), None, 0
    quantiles = np.empty((len(piece.origins), piece.horizon, len(piece.levels)))
    for place, origin in enumerate(piece.origins):
        history = filled[:origin]
        history = history[~np.isnan(history)][-piece.context :]
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")  # of fits to constant or short series, which it then gets right
                if fitted is None or piece.refit:
                    fitted = _model(piece.name, _season_of(history, piece.season)).fit(history)
                quantiles[place] = _quantiles(fitted, history, piece.horizon, piece.levels)
            if not np.isfinite(quantiles[place]).all():
                raise ArithmeticError("a forecast that is no number")
        except Exception:  # whatever a foreign search over models raises: too few values, a matrix without inverse
            fitted, failed = None, failed + 1
            naive = seasonal_naive(
                piece.values[None], piece.origins[place : place + 1], piece.horizon, piece.season, piece.levels
            )
            quantiles[place] = naive.quantiles[0, 0]
    return quantiles, failed


def _without_gaps(values: Array, season: int) -> Array:
    """(T,) with gaps filled by the value a season before, or else the last one; NaN before the first."""
    filled = filled_from_season_before(values[None], season)[0]
    last = np.maximum.accumulate(np.where(np.isnan(filled), -1, np.arange(len(filled))))
    return np.asarray(np.where(last >= 0, filled[np.maximum(last, 0)], np.nan))


def _quantiles(fitted: Any, history: Array, horizon: int, levels: Sequence[float]) -> Array:
    """(P, Q); the library speaks of central intervals by their percentage."""
    widths = {level: round(abs(200 * level - 100), 6) for level in levels}
    found = fitted.forward(history, horizon, level=sorted({width for width in widths.values() if width}))
    columns = [
        found["mean" if not widths[level] else f"{'lo' if level < 0.5 else 'hi'}-{widths[level]}"] for level in levels
    ]
    return np.sort(np.stack([np.asarray(column, np.float64) for column in columns], axis=-1), axis=-1)


def _season_of(history: Array, season: int) -> int:
    """The season, or none for a history that does not hold two of them."""
    return season if len(history) > 2 * season else 1


def _model(name: Statistical, season: int) -> Any:
    try:
        from statsforecast import models
    except ImportError as error:
        raise TrainingError(
            f"{name}: expected the package statsforecast; install it with: pip install 'unroll[statistics]'"
        ) from error
    if name == "AutoETS_seasonal":
        return models.AutoETS(season_length=season, model=SEASONAL if season > 1 else "ZZZ")
    return getattr(models, name)(season_length=season)
