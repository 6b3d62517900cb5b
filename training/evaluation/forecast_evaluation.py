"""Measures an exported forecaster over a held-out stretch, beside seasonal naive and drift at the same origins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from service.contract.frequency import Frequency
from training.data.alignment import AlignedSeries, Steps
from training.evaluation.backtest import Runner, answers_directly, backtest, rolling_origins
from training.evaluation.baselines import drift, seasonal_naive
from training.evaluation.metrics import (
    LEVELS,
    Forecasts,
    coverage_by_level,
    coverage_one_step,
    forecast_metrics,
    seasonal_error,
)

SAMPLES_SHOWN = 4
HISTORY_SHOWN = 3  # horizons before the origin
PIT_BINS = 20


@dataclass(frozen=True)
class SampleForecast:
    """One forecast as lists, for the card: the steps before it, what came and the deciles (P, 9)."""

    series: int
    origin: int
    """Step of the aligned axis."""
    history: list[float]
    actual: list[float]
    quantiles: list[list[float]]


@dataclass(frozen=True)
class Evaluation:
    """What a forecaster came to over a held-out stretch, in plain values."""

    metrics: dict[str, float]
    """By name, without those that the data leaves undefined (MASE of a constant series)."""
    baselines: dict[str, dict[str, float]]
    origins: int
    covered: dict[float, float]
    """Share of values at or below the quantile of each level."""
    pit: list[float]
    """Density in equal bins of (0, 1), one step ahead."""
    samples: list[SampleForecast]
    direct: bool = False
    """Whether the quantiles are the model's own for the whole horizon, and not those of sampled paths."""

    def to_dict(self) -> dict[str, Any]:
        """For a JSON file."""
        return asdict(self)


def metric_season(frequency: Frequency) -> int:
    """The season of MASE that published tables use: one step for days and weeks, otherwise the usual one."""
    return 1 if frequency.unit in ("D", "W") else frequency.seasonality


def evaluate_forecaster(
    model: Runner,
    series: AlignedSeries,
    first: int,
    end: int,
    *,
    horizon: int,
    stride: int,
    paths: int,
    seed: int,
    seasons: Sequence[int],
    metric_season: int,
    sampled: bool = False,
    advanced: Callable[[float], None] = lambda share: None,
) -> Evaluation:
    """Backtest over [first, end) of the aligned axis; errors are scaled by what was known before `first`.

    Args:
        seasons: of the seasonal naive baselines.
        metric_season: of the seasonal error that scales MASE, SQL and MSIS.
        sampled: forecast by paths even where the model could answer directly.
    """
    origins = rolling_origins(first, end, horizon, stride)
    result = backtest(model, series, origins, horizon, paths, seed, advanced=advanced, sampled=sampled)
    scales = seasonal_error(series.target[:, :first], metric_season)
    baselines = _baselines(series, origins, horizon, seasons)
    pit = result.pit[~np.isnan(result.pit)]
    return Evaluation(
        metrics=defined(
            forecast_metrics(result.forecasts, scales) | {"coverage_80_one_step": coverage_one_step(pit, 0.1, 0.9)}
        ),
        baselines={name: defined(forecast_metrics(forecasts, scales)) for name, forecasts in baselines.items()},
        origins=len(origins),
        covered=coverage_by_level(result.forecasts),
        pit=np.histogram(pit, PIT_BINS, (0, 1), density=True)[0].round(4).tolist(),
        samples=sample_forecasts(series, result.origins, result.forecasts),
        direct=not sampled and answers_directly(model, horizon),
    )


def defined(metrics: dict[str, float]) -> dict[str, float]:
    """Those that are numbers: the others the data leaves undefined."""
    return {name: value for name, value in metrics.items() if np.isfinite(value)}


def _baselines(series: AlignedSeries, origins: Steps, horizon: int, seasons: Sequence[int]) -> dict[str, Forecasts]:
    naive = {f"seasonal_naive_{season}": season for season in seasons} | {"naive": 1}
    found = {name: seasonal_naive(series.target, origins, horizon, season) for name, season in naive.items()}
    return found | {"drift": drift(series.target, origins, horizon)}


def sample_forecasts(series: AlignedSeries, origins: Steps, forecasts: Forecasts) -> list[SampleForecast]:
    """Forecasts spaced evenly over origins and series."""
    deciles = forecasts.only(LEVELS).quantiles
    count, places, horizon, _ = deciles.shape
    chosen = np.linspace(0, places - 1, min(SAMPLES_SHOWN, places)).astype(int)
    shown = []
    for number, place in enumerate(chosen.tolist()):
        row, origin = number % count, int(origins[place])
        shown.append(
            SampleForecast(
                series=row,
                origin=origin,
                history=_plain(series.target[row, max(origin - HISTORY_SHOWN * horizon, 0) : origin]),
                actual=_plain(forecasts.actual[row, place]),
                quantiles=[_plain(step) for step in deciles[row, place]],
            )
        )
    return shown


def _plain(values: np.ndarray) -> list[float]:
    """Rounded to seven digits, which is all that float32 holds."""
    return [float(f"{value:.7g}") for value in values.tolist()]
