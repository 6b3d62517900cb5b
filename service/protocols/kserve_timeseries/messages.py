"""KServe's forecast request and answer, with sessions, seeds and covariates beside what the schema names.

The schema allows further fields everywhere, for whatever clients keep there; they change nothing (see `spelling`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from service.protocols.observed import ObservedValues
from service.protocols.reading import Message
from service.tasks.forecast_request import Aggregate

Number = float | None
Level = Annotated[float, msgspec.Meta(gt=0, lt=1)]
UNIVARIATE, MULTIVARIATE = "univariate_time_series", "multivariate_time_series"


class SeriesInput(Message, forbid_unknown_fields=False):
    """One series; with `session_id`, what is new of it. A multivariate one has a row of values for every step.

    `future_covariates`, by name or in rows in the model's order, cover every step of a univariate series and of the
    horizon; those of the horizon alone where the rows of a multivariate series hold the others.
    """

    name: str
    series: list[float | list[Number] | None]
    type: str = UNIVARIATE
    frequency: str | None = None
    start_timestamp: str | None = None
    session_id: str | None = None
    position: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] | None = None
    durability: Literal["sync", "async", "none"] | None = None
    anomaly_threshold: Annotated[float, msgspec.Meta(gt=0, le=1)] | None = None
    static_covariates: dict[str, float | str] | None = None
    future_covariates: dict[str, list[Number]] | list[list[Number]] | None = None


class ForecastOptions(Message, forbid_unknown_fields=False):
    """How far to look ahead, and what to tell beside the mean: quantiles, and, which is ours, central intervals, sample
    paths, and aggregates over the steps."""

    horizon: Annotated[int, msgspec.Meta(ge=1)]
    quantiles: Annotated[list[Level], msgspec.Meta(max_length=99)] | None = None
    levels: Annotated[list[Level], msgspec.Meta(max_length=99)] | None = None
    samples: Annotated[int, msgspec.Meta(ge=1)] | None = None
    aggregate: Annotated[list[Aggregate], msgspec.Meta(max_length=4)] | None = None
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] | None = None


class SeriesForecastBody(Message, forbid_unknown_fields=False):
    """Series to forecast with one model. `metadata` is the client's own and comes back with the answer."""

    model: str
    inputs: Annotated[list[SeriesInput], msgspec.Meta(min_length=1)]
    options: ForecastOptions
    metadata: dict[str, Any] | None = None


class Interval(msgspec.Struct):
    """The bounds between which a share `level` of values is to fall."""

    level: float
    lower: Any
    upper: Any


class AggregateContent(msgspec.Struct):
    """The distribution of one number made of all steps, or of one for each variable."""

    mean: Any
    quantiles: dict[str, Any]
    intervals: list[Interval]


class Content(msgspec.Struct):
    """The forecast of one input: lists of P values, of P rows where it is multivariate; samples are N of those.

    `method` is `direct` where the model told all steps at once; else they come from sample paths.
    """

    type: str
    name: str
    mean_forecast: Any
    frequency: str | None
    start_timestamp: str | None
    quantiles: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    intervals: list[Interval] | msgspec.UnsetType = msgspec.UNSET
    samples: Any = msgspec.UNSET
    aggregates: dict[str, AggregateContent] | msgspec.UnsetType = msgspec.UNSET
    method: Literal["direct"] | msgspec.UnsetType = msgspec.UNSET


class Output(msgspec.Struct):
    """What became of one input: its forecast, or why there is none; `observed` is what a session is told of the values
    that it took in."""

    id: str
    status: Literal["completed", "error"]
    content: list[Content]
    error: dict[str, Any] | None = None
    session_id: str | msgspec.UnsetType = msgspec.UNSET
    position: int | msgspec.UnsetType = msgspec.UNSET
    durable_position: int | msgspec.UnsetType = msgspec.UNSET
    restored: bool | msgspec.UnsetType = msgspec.UNSET
    observed: ObservedValues | msgspec.UnsetType = msgspec.UNSET
    type: Literal["time_series_forecast"] = "time_series_forecast"


class Usage(msgspec.Struct):
    """Values taken in and forecast, under the names that the schema has for them."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Forecasts(msgspec.Struct):
    """The answer: one output for each input, in their order."""

    id: str
    created_at: int
    status: Literal["completed", "partial"]
    model: str
    outputs: list[Output]
    usage: Usage
    metadata: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    error: None = None
