"""What the manifest of a trained forecaster says that it predicts, whichever way it looks ahead."""

from __future__ import annotations

import math
from typing import Any

from service.contract.frequency import Frequency
from service.contract.manifest import ForecastTask, StaticCovariate
from training.networks.anomaly_likelihood import THRESHOLD
from training.networks.decoders import AnyDecoder
from training.networks.forecaster import ForecasterSettings
from training.networks.segment_forecaster import SegmentSettings

FADED = 0.05
"""Share of the scale's weight on values from before the context, when forecasts have settled."""


def forecast_task(
    network: AnyDecoder, frequency: Frequency, horizon: int, unit: str | None, path_correlation: float | None
) -> ForecastTask:
    """The manifest's section for a network that was measured over a horizon."""
    settings = network.settings
    shared: dict[str, Any] = {
        "frequency": str(frequency),
        "quantiles": settings.quantiles,
        "calendar": settings.calendar,
        "seasonality": frequency.seasonality,
        "unit": unit,
        "anomaly_threshold": THRESHOLD,
    }
    if isinstance(settings, SegmentSettings):
        return ForecastTask(
            **shared,
            lags=tuple(settings.season * (back + 1) for back in range(settings.seasons)),
            context_length=settings.context_length,
            prediction_length=settings.prediction_length,
            path_correlation=path_correlation,
        )
    return ForecastTask(
        **shared,
        future_covariates=tuple(scale.name for scale in settings.covariates),
        static_covariates=tuple(StaticCovariate(name=s.name, categories=s.categories) for s in settings.static),
        lags=settings.lags,
        context_length=settled_after(settings),
        prediction_length=horizon,
    )


def settled_after(settings: ForecasterSettings) -> int:
    """Observations after which every lag is known and the scale has forgotten its beginning."""
    fading = math.ceil(math.log(FADED) / math.log(settings.decay)) if settings.decay < 1 else 0
    return max(settings.max_lag, fading)
