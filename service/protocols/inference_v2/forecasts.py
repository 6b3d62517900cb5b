"""Looking ahead in V2: what its parameters, which are single values, ask for, and forecasts as tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from service.errors import InputMismatch
from service.protocols.inference_v2.parameters import InferParameters
from service.protocols.inference_v2.signature import (
    FORECAST_AGGREGATE_MEANS,
    FORECAST_AGGREGATES,
    FORECAST_INTERVALS,
    FORECAST_MEAN,
    FORECAST_MEDIAN,
    FORECAST_QUANTILES,
    FORECAST_SAMPLES,
    Arrays,
)
from service.tasks.distributions import Distribution, Forecast
from service.tasks.forecast_request import AGGREGATES, Aggregate, ForecastRequest

NEEDED = {
    FORECAST_INTERVALS: "levels",
    FORECAST_SAMPLES: "samples",
    FORECAST_AGGREGATES: "aggregate",
    FORECAST_AGGREGATE_MEANS: "aggregate",
}
"""The parameter without which there is no such output."""
_OF_FORECASTS = ("quantiles", "levels", "aggregate", "samples")


def outputs_ahead(asked: InferParameters) -> list[str]:
    """The outputs of a request that looks ahead and names none."""
    given = [name for name, parameter in NEEDED.items() if getattr(asked, parameter) is not None]
    return [FORECAST_MEAN, FORECAST_QUANTILES, *given]


def forecast_request(asked: InferParameters, horizon: int, wanted: Sequence[str]) -> ForecastRequest | None:
    """What is asked of the steps ahead; None where nothing is.

    Raises:
        InputMismatch: an output without its parameter, a parameter without a forecast, or one that is none.
    """
    for name in wanted:
        parameter = NEEDED.get(name)
        if parameter is not None and getattr(asked, parameter) is None:
            raise InputMismatch(f"output {name!r}: expected the parameter {parameter} with it", parameter=parameter)
    if not horizon:
        for name in _OF_FORECASTS:
            if getattr(asked, name) is not None:
                raise InputMismatch(f"parameters.{name}: expected only with a forecast", parameter=name)
        return None
    return ForecastRequest(
        horizon,
        quantiles=None if asked.quantiles is None else _levels(asked.quantiles, "quantiles"),
        levels=() if asked.levels is None else _levels(asked.levels, "levels"),
        samples=asked.samples,
        aggregate=() if asked.aggregate is None else _aggregates(asked.aggregate),
        seed=asked.seed,
    )


def _levels(given: str | float, name: str) -> list[float]:
    try:
        return [given] if isinstance(given, float) else [float(part) for part in given.split(",")]
    except ValueError:
        raise InputMismatch(
            f'parameters.{name}: expected levels in a text such as "0.8,0.95", got {str(given)[:60]!r}', parameter=name
        ) from None


def _aggregates(text: str) -> list[Aggregate]:
    names = [part.strip() for part in text.split(",")]
    known = [name for name in AGGREGATES if name in names]
    if sorted(known) != sorted(names):
        raise InputMismatch(
            f"parameters.aggregate: expected some of {', '.join(AGGREGATES)} in a text, each once, got {text[:60]!r}",
            parameter="aggregate",
        )
    return sorted(known, key=names.index)


def forecast_tensors(told: Sequence[Forecast | None], asked: ForecastRequest, own_levels: Sequence[float]) -> Arrays:
    """All outputs (B, …) of B forecasts; NaN for one of nothing."""
    levels = own_levels if asked.quantiles is None else asked.quantiles
    steps, count = asked.horizon, len(asked.aggregate)

    def batch(part: Callable[[Forecast], NDArray[np.float32]], *shape: int) -> NDArray[np.float32]:
        nothing = np.full(shape, np.nan, np.float32)
        return np.stack([nothing if one is None else part(one) for one in told])

    tensors: Arrays = {
        FORECAST_MEAN: batch(lambda one: one.mean, steps),
        FORECAST_MEDIAN: batch(lambda one: one.median, steps),
        FORECAST_QUANTILES: batch(lambda one: _quantiles(one, levels), steps, len(levels)),
    }
    if asked.levels:
        tensors[FORECAST_INTERVALS] = batch(lambda one: _intervals(one, asked.levels), steps, len(asked.levels), 2)
    if asked.samples is not None:
        tensors[FORECAST_SAMPLES] = batch(_samples, asked.samples, steps)
    if count:
        tensors[FORECAST_AGGREGATES] = batch(
            lambda one: np.stack([_quantiles(one.aggregates[name], levels) for name in asked.aggregate]),
            *(count, len(levels)),
        )
        tensors[FORECAST_AGGREGATE_MEANS] = batch(
            lambda one: np.stack([one.aggregates[name].mean for name in asked.aggregate]), count
        )
    return tensors


def _quantiles(told: Distribution, levels: Sequence[float]) -> NDArray[np.float32]:
    return np.stack([told.quantiles[level] for level in levels], axis=-1)


def _intervals(told: Distribution, levels: Sequence[float]) -> NDArray[np.float32]:
    """(P, L, 2): lower and upper bounds."""
    return np.stack([np.stack(told.intervals[level], axis=-1) for level in levels], axis=1)


def _samples(told: Forecast) -> NDArray[np.float32]:
    assert told.samples is not None
    return told.samples
