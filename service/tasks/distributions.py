"""What a forecast says: distributions of steps and of aggregates, told from sample paths or from quantiles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from service.contract.quantile_function import mean_of, quantile_function
from service.tasks.forecast_request import Aggregate, ForecastRequest, bounds_of

Values = NDArray[np.float32]
Method = Literal["direct", "sample_paths"]
"""How a forecast was made: the model's own of all steps at once, or by drawing one step after another."""

_OVER_THE_STEPS: dict[Aggregate, Callable[..., Any]] = {"sum": np.sum, "mean": np.mean, "min": np.min, "max": np.max}


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """Of numbers (…): the next P values (P,), or a single one ().

    Args:
        quantiles: by level.
        intervals: lower and upper bounds by the share that lies between them.
    """

    mean: Values
    median: Values
    quantiles: Mapping[float, Values]
    intervals: Mapping[float, tuple[Values, Values]]


@dataclass(frozen=True, kw_only=True)
class Outlook(Distribution):
    """The distribution of the next P values, with paths (N, P) and distributions of aggregates where asked for."""

    samples: Values | None = None
    aggregates: Mapping[Aggregate, Distribution] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Forecast(Outlook):
    """The outlook from a position. `restored`: the session was taken from the journal, and no answer has said so."""

    position: int
    timestamps: NDArray[np.datetime64] | None
    method: Method
    restored: bool = False


def outlook_of_paths(paths: Values, own_levels: Sequence[float], asked: ForecastRequest) -> Outlook:
    """What paths (N, P) say together."""
    steps = _of_draws(paths.astype(np.float64), own_levels, asked)
    samples = paths if asked.samples is not None else None
    return Outlook(**vars(steps), samples=samples, aggregates=_aggregates(paths, own_levels, asked))


def outlook_of_quantiles(
    quantiles: Values, paths: Values | None, own_levels: Sequence[float], asked: ForecastRequest
) -> Outlook:
    """What quantiles (P, Q) at a model's own levels say of each step, and paths (N, P) of all together."""
    wanted = _wanted(own_levels, asked)
    values = quantile_function(quantiles, own_levels, np.array(wanted)[:, np.newaxis]).astype(np.float32)
    steps = _distribution(mean_of(quantiles, own_levels).astype(np.float32), wanted, values, own_levels, asked)
    if paths is None:
        return Outlook(**vars(steps))
    samples = paths if asked.samples is not None else None
    return Outlook(**vars(steps), samples=samples, aggregates=_aggregates(paths, own_levels, asked))


def _aggregates(paths: Values, own_levels: Sequence[float], asked: ForecastRequest) -> dict[Aggregate, Distribution]:
    wide = paths.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        return {name: _of_draws(_OVER_THE_STEPS[name](wide, axis=1), own_levels, asked) for name in asked.aggregate}


def _of_draws(draws: NDArray[np.float64], own_levels: Sequence[float], asked: ForecastRequest) -> Distribution:
    """The distribution (…) that draws (N, …) stand for; those that overflow give infinities, told without a warning."""
    wanted = _wanted(own_levels, asked)
    with np.errstate(invalid="ignore", over="ignore"):
        values = np.quantile(draws, wanted, axis=0).astype(np.float32)
        mean = np.asarray(draws.mean(axis=0)).astype(np.float32)
    return _distribution(mean, wanted, values, own_levels, asked)


def _wanted(own_levels: Sequence[float], asked: ForecastRequest) -> list[float]:
    """All quantile levels that something is told of, each once."""
    bounds = [bound for level in asked.levels for bound in bounds_of(level)]
    return list(dict.fromkeys([*_told(own_levels, asked), 0.5, *bounds]))


def _told(own_levels: Sequence[float], asked: ForecastRequest) -> Sequence[float]:
    return own_levels if asked.quantiles is None else asked.quantiles


def _distribution(
    mean: Values, wanted: Sequence[float], values: Values, own_levels: Sequence[float], asked: ForecastRequest
) -> Distribution:
    """From the values (W, …) at all wanted levels."""
    by_level = dict(zip(wanted, values, strict=True))
    bounds = {level: bounds_of(level) for level in asked.levels}
    return Distribution(
        mean=mean,
        median=by_level[0.5],
        quantiles={level: by_level[level] for level in _told(own_levels, asked)},
        intervals={level: (by_level[lower], by_level[upper]) for level, (lower, upper) in bounds.items()},
    )
