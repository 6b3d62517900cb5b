"""Forecasts as KServe's content: one as it is, or those of all variables of a multivariate series side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.contract.frequency import format_timestamp
from service.protocols.kserve_timeseries.messages import MULTIVARIATE, AggregateContent, Content, Interval
from service.protocols.kserve_timeseries.reading import Read
from service.tasks.distributions import Distribution
from service.tasks.forecast import Forecast
from service.tasks.series_inputs import forecast_task


def content_of(read: Read, ahead: Sequence[Forecast]) -> Content:
    """The forecast of one input, from those of its variables."""
    together, first = read.type == MULTIVARIATE, ahead[0]
    content = Content(
        read.type,
        read.given.name,
        _joined([one.mean for one in ahead], together),
        read.given.frequency or forecast_task(read.model).frequency,
        None if first.timestamps is None else format_timestamp(first.timestamps[0]),
    )
    if first.method == "direct":
        content.method = first.method
    if first.quantiles:
        content.quantiles = _quantiles(ahead, together)
    if first.intervals:
        content.intervals = _intervals(ahead, together)
    if first.samples is not None:
        content.samples = _joined([one.samples for one in ahead if one.samples is not None], together)
    if first.aggregates:
        each = {name: [one.aggregates[name] for one in ahead] for name in first.aggregates}
        content.aggregates = {name: _aggregate(told, together) for name, told in each.items()}
    return content


def _aggregate(told: Sequence[Distribution], together: bool) -> AggregateContent:
    mean = _joined([one.mean for one in told], together)
    return AggregateContent(mean, _quantiles(told, together), _intervals(told, together))


def _quantiles(told: Sequence[Distribution], together: bool) -> dict[str, NDArray[np.float32]]:
    return {repr(level): _joined([one.quantiles[level] for one in told], together) for level in told[0].quantiles}


def _intervals(told: Sequence[Distribution], together: bool) -> list[Interval]:
    return [
        Interval(level, *(_joined([one.intervals[level][bound] for one in told], together) for bound in (0, 1)))
        for level in told[0].intervals
    ]


def _joined(columns: Sequence[NDArray[np.float32]], together: bool) -> NDArray[np.float32]:
    """Of one variable (…); of several side by side (…, V)."""
    return np.stack(columns, axis=-1) if together else columns[0]
