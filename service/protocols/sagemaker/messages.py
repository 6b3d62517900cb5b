"""What is sent to `/invocations`: DeepAR's request and prediction, and SageMaker's opening and closing of sessions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from service.protocols.observed import ObservedValues
from service.protocols.reading import Message
from service.tasks.forecast_request import Aggregate

Number = float | Literal["NaN"] | None
Durability = Literal["sync", "async", "none"]
OutputType = Literal["mean", "quantiles", "samples"]
Level = Annotated[float, msgspec.Meta(gt=0, lt=1)]
DEFAULT_SAMPLES = 100
"""Paths where samples are asked for and not how many; DeepAR's default."""
_DECILES = tuple(f"0.{tenth}" for tenth in range(1, 10))


class Instance(Message):
    """A series: its values, "NaN" or null where missing; in a session, what is new of it.

    `cat` numbers a category for each of the model's categorical covariates, in their order; `dynamic_feat` has a list
    for each of its future covariates, for every step of the series and of the horizon.
    """

    target: list[Number]
    start: str | None = None
    cat: list[int] | None = None
    dynamic_feat: list[list[Number]] | None = None


class Configuration(Message):
    """What to tell of the next steps, as many as the model was trained to forecast; the defaults are DeepAR's.

    `levels` and `aggregate` are ours.
    """

    num_samples: Annotated[int, msgspec.Meta(ge=1)] | None = None
    output_types: tuple[OutputType, ...] = ("mean", "quantiles")
    quantiles: Annotated[tuple[str | float, ...], msgspec.Meta(max_length=99)] = _DECILES
    levels: Annotated[tuple[Level, ...], msgspec.Meta(max_length=99)] = ()
    aggregate: Annotated[tuple[Aggregate, ...], msgspec.Meta(max_length=4)] = ()


class InvocationBody(Message):
    """Series to forecast. `model` is ours, and so is `position`: in a session, it makes a request safe to repeat. So is
    `durability`, of a session that is opened."""

    instances: Annotated[list[Instance], msgspec.Meta(min_length=1)]
    configuration: Configuration | None = None
    model: str | None = None
    position: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] | None = None
    durability: Durability | None = None


class Line(Instance):
    """One line of JSON Lines: a series, and its own configuration where it has one."""

    configuration: Configuration | None = None


class NewSession(Message, tag_field="requestType", tag="NEW_SESSION"):
    """Open a session. All but the type is ours: what the first instance would say of the series."""

    model: str | None = None
    start: str | None = None
    cat: list[int] | None = None
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] | None = None
    time_to_live_s: Annotated[float, msgspec.Meta(gt=0)] | None = None
    durability: Durability | None = None
    anomaly_threshold: Annotated[float, msgspec.Meta(gt=0, le=1)] | None = None


class CloseSession(Message, tag_field="requestType", tag="CLOSE"):
    """Close the session that the header names."""


class Interval(msgspec.Struct):
    """The bounds between which a share `level` of values is to fall."""

    level: float
    lower: Any
    upper: Any


class Prediction(msgspec.Struct, omit_defaults=True):
    """What was asked for of one series' next P steps, or of an aggregate of them; N samples are (N, P).

    `method` is `direct` where the model told all steps at once; else they come from sample paths.
    """

    mean: Any = None
    quantiles: dict[str, Any] | None = None
    samples: Any = None
    intervals: list[Interval] | None = None
    aggregates: dict[str, Prediction] | None = None
    method: Literal["direct"] | None = None


class Predictions(msgspec.Struct, omit_defaults=True):
    """A prediction for each instance, in their order; in a session, where it stands now, and what it is told of the
    values that it took in."""

    predictions: list[Prediction]
    position: int | None = None
    durable_position: int | None = None
    restored: bool = False
    observed: ObservedValues | None = None
