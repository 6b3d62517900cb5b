"""A published forecaster's recipe, run again before each window: what its backtest is when nothing is learned once.

The settings are those that its manifest records; the validation stretch is the last one before the window.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from training.data.alignment import AlignedSeries, Split, Steps, split_time
from training.data.series import SeriesSet
from training.evaluation.backtest import Backtest, backtest
from training.evaluation.baselines import actual_values
from training.evaluation.metrics import MEASURED_LEVELS, Forecasts
from training.evaluation.parallel import in_processes
from training.forecaster_recipe import exported
from training.forecaster_settings import EvaluationSettings, ForecasterFitSettings
from training.prepare_forecaster import prepare_again
from training.train_forecaster import finish, fit_forecaster

Settings = TypeVar("Settings")


@dataclass(frozen=True)
class _Window:
    """One origin, and what a network is trained on for it."""

    settings: Mapping[str, Any]
    past: SeriesSet
    split: Split
    series: AlignedSeries
    origin: int
    horizon: int
    paths: int
    seed: int
    sampled: bool


def refitted_backtest(
    settings: Mapping[str, Any],
    series: SeriesSet,
    aligned: AlignedSeries,
    origins: Steps,
    horizon: int,
    paths: int,
    seed: int = 0,
    *,
    sampled: bool = False,
    jobs: int = 1,
    advanced: Callable[[float], None] = lambda share: None,
) -> Backtest:
    """The backtest of networks trained by these settings, a new one at each origin on all that came before it.

    Args:
        settings: `training.settings` of a manifest.
        aligned: the same, with the calendar of the model.
        seed: of the networks and of the sampled futures; the recorded one is another network's.

    Raises:
        TrainingError: too little comes before the first origin.
        Stopped: SIGINT or SIGTERM came.
    """
    windows = []
    for origin in origins.tolist():
        past = series_before(series, origin)
        split = split_before(past, settings)
        windows.append(_Window(settings, past, split, aligned, origin, horizon, paths, seed, sampled))
    found = in_processes(_trained_and_tested, windows, jobs, advanced, apart=True)
    first, end = int(origins[0]), int(origins[-1]) + horizon
    pit = np.full((len(aligned.target), end - first), np.nan, np.float32)
    for window, result in zip(windows, found, strict=True):
        pit[:, window.origin - first : window.origin - first + horizon] = result.pit
    quantiles = np.concatenate([result.forecasts.quantiles for result in found], axis=1)
    actual = actual_values(aligned.target, origins, horizon)
    return Backtest(origins, Forecasts(actual, quantiles, MEASURED_LEVELS), pit)


def series_before(series: SeriesSet, origin: int) -> SeriesSet:
    """What is known at a step of the aligned axis: each series without its last values."""
    left = series.ends - (series.length - origin)  # (N,) steps of the file
    length = int(left.max())
    target = np.where(np.arange(series.length) < left[:, None], series.target, np.float32(np.nan))[:, :length]
    covariates = None if series.covariates is None else series.covariates[:, :length]
    return replace(series, target=target, covariates=covariates)


def split_before(past: SeriesSet, settings: Mapping[str, Any]) -> Split:
    """Validation at the very end, as long as it was in training; no test."""
    horizon: int = settings["evaluation"]["horizon"]
    tested = split_time(past, settings["data"]["validation_length"], str(horizon), horizon)
    return Split(past.length - (tested.test - tested.validation), past.length, past.length)


def _trained_and_tested(window: _Window) -> Backtest:
    torch.set_num_threads(1)  # as many as there are processes work at once
    with contextlib.redirect_stderr(io.StringIO()), tempfile.TemporaryDirectory() as run:
        evaluation = _read(EvaluationSettings, window.settings["evaluation"])
        fit_settings = replace(_read(ForecasterFitSettings, window.settings["fit"]), seed=window.seed, threads=None)
        prepared = prepare_again(window.past, window.split, window.settings)
        members = window.settings.get("decoder", {}).get("members", 1)
        fitted = fit_forecaster(prepared, members, fit_settings, Path(run), resume=False, device=torch.device("cpu"))
        trained = finish(prepared, fitted, evaluation, window.seed)
        with exported(trained.network) as model:
            origins = np.array([window.origin])
            return backtest(
                model, window.series, origins, window.horizon, window.paths, window.seed, sampled=window.sampled
            )


def _read(kind: type[Settings], recorded: Mapping[str, Any]) -> Settings:
    """Settings as they were recorded, perhaps by an earlier version, which knew fewer."""
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in recorded.items() if name in known})
