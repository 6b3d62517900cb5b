"""What clients send and get where they look ahead in the native interface."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from service.protocols.native.messages import Interval, Level, Number, Quantiles, Seed
from service.protocols.reading import Message
from service.tasks.forecast_request import Aggregate

Covariates = dict[str, list[Number]]
Levels = Annotated[list[Level], msgspec.Meta(min_length=1, max_length=99)]
Aggregates = Annotated[list[Aggregate], msgspec.Meta(min_length=1, max_length=4)]


class ForecastBody(Message):
    """How far to look ahead, and what to tell; covariates known for the steps ahead, or several futures of them."""

    horizon: Annotated[int, msgspec.Meta(ge=1)]
    quantiles: Levels | None = None
    levels: Levels | None = None
    samples: Annotated[int, msgspec.Meta(ge=1)] | None = None
    aggregate: Aggregates | None = None
    future_covariates: Covariates | None = None
    scenarios: Annotated[dict[str, Covariates], msgspec.Meta(min_length=1)] | None = None
    seed: Seed | None = None


class SessionForecast(ForecastBody, kw_only=True):
    """What to tell of one session's next steps: the fields of its own `forecast`, and whose they are."""

    session_id: str


class ForecastSessionsBody(Message):
    """Sessions to look ahead from."""

    sessions: list[SessionForecast]


class Outlook(msgspec.Struct, omit_defaults=True):
    """The distribution of each step ahead, or of an aggregate of them."""

    mean: Any
    median: Any
    quantiles: Quantiles
    intervals: list[Interval] | None = None
    samples: Any = None
    aggregates: dict[str, Outlook] | None = None


class Scenario(Outlook):
    """What follows under one future, and how that differs from the first."""

    difference: Outlook | None = None


class Forecast(msgspec.Struct, omit_defaults=True):
    """The steps ahead of `position`: their distributions, told directly or from sample paths (`method`)."""

    position: int
    method: str
    mean: Any
    median: Any
    quantiles: Quantiles
    intervals: list[Interval] | None = None
    timestamps: list[str] | None = None
    samples: Any = None
    aggregates: dict[str, Outlook] | None = None


class ScenarioForecasts(msgspec.Struct, omit_defaults=True):
    """What follows `position` under each future of the covariates, by its name."""

    position: int
    method: str
    scenarios: dict[str, Scenario]
    timestamps: list[str] | None = None
