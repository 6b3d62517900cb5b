"""Whatever can be measured on a set of series, each at the same origins: published models and baselines by name.

Shapes as in `training.evaluation.metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data.alignment import AlignedSeries, Steps
from training.errors import TrainingError
from training.evaluation.backtest import answers_directly
from training.evaluation.baselines import drift, naive_2, seasonal_naive
from training.evaluation.metrics import MEASURED_LEVELS, Forecasts
from training.evaluation.published_backtest import backtest_published
from training.evaluation.statistical_baselines import CONTEXT, STATISTICAL, statistical_forecasts
from training.export import ExportedForecaster

SIMPLE = ("naive", "drift", "naive_2", "seasonal_naive")
"""Baselines that need no fit; a season may be added to the last two, as in seasonal_naive_168."""

Advanced = Callable[[float], None]


@dataclass(frozen=True)
class Task:
    """What all are asked: forecasts of the series, `horizon` steps from each origin on."""

    series: AlignedSeries
    origins: Steps
    """(O,)"""
    horizon: int
    seasons: tuple[int, ...]
    """Usual ones; the first is that of the statistical models."""
    refit: bool = False
    context: int = CONTEXT
    jobs: int = 1


@dataclass(frozen=True)
class Told:
    """What one of them foretold."""

    forecasts: Forecasts
    how: str
    """In a few words, for the report."""
    pit: NDArray[np.float32] | None = None
    """As in `training.evaluation.backtest`, of models that observe every value."""


def default_baselines(seasons: Sequence[int]) -> tuple[str, ...]:
    """Those that stand beside every model."""
    seasonal = (f"seasonal_naive_{season}" for season in seasons if season > 1)
    return (*seasonal, "naive", "drift")


def is_baseline(name: str) -> bool:
    """Whether a baseline goes by this name, as `baseline_forecasts` takes it."""
    plain, _, season = name.rpartition("_")
    seasonal = plain in ("seasonal_naive", "naive_2") and season.isdecimal() and int(season) > 0
    return name in (*SIMPLE, *STATISTICAL) or seasonal


def baseline_forecasts(name: str, task: Task, advanced: Advanced = lambda share: None) -> Told:
    """The forecasts of a baseline.

    Raises:
        TrainingError: there is none of this name, or the package it needs is absent.
        Stopped: SIGINT or SIGTERM came.
    """
    if name in STATISTICAL:
        return _statistical(name, task, advanced)
    if not is_baseline(name):
        raise TrainingError(
            f"{name}: expected the folder of a published version, such as models/pjm-load/1, or a baseline:"
            f" {', '.join((*SIMPLE, *STATISTICAL))}"
        )
    plain, _, season = name.rpartition("_")
    if plain not in ("seasonal_naive", "naive_2"):
        plain, season = name, str(task.seasons[0])
    values, asked = task.series.target, (task.origins, task.horizon)
    if plain == "drift":
        return Told(drift(values, *asked), "the line through the first and the last value")
    if plain == "naive":
        return Told(seasonal_naive(values, *asked, 1), "the last value")
    if plain == "naive_2":
        return Told(naive_2(values, *asked, int(season)), f"the last value without its season of {season} steps")
    return Told(seasonal_naive(values, *asked, int(season)), f"the value {season} steps before")


def _statistical(name: str, task: Task, advanced: Advanced) -> Told:
    chosen = next(known for known in STATISTICAL if known == name)
    forecasts, failed = statistical_forecasts(
        chosen,
        task.series.target,
        task.origins,
        task.horizon,
        task.seasons[0],
        refit=task.refit,
        context=task.context,
        jobs=task.jobs,
        advanced=advanced,
    )
    fitted = "at each origin" if task.refit else "at the first origin"
    seen = f" to the last {task.context} values" if task.context else ""
    note = f"; {failed} of {forecasts.actual[..., 0].size} without a fit, seasonal naive instead" if failed else ""
    return Told(forecasts, f"statsforecast, season {task.seasons[0]}, fitted {fitted}{seen}{note}")


def published_forecasts(
    folder: Path, task: Task, paths: int, seed: int, *, sampled: bool = False, advanced: Advanced = lambda share: None
) -> Told:
    """The forecasts of a published model; `task.series` is aligned as that model takes it."""
    direct = not sampled and answers_directly(ExportedForecaster(folder), task.horizon)
    found = backtest_published(
        folder,
        task.series,
        task.origins,
        task.horizon,
        paths,
        seed,
        MEASURED_LEVELS,
        sampled=sampled,
        jobs=task.jobs,
        advanced=advanced,
    )
    how = "all steps at once" if direct else f"{paths} sampled paths"
    return Told(found.forecasts, how, found.pit)
