"""The steps of measuring forecasters on a file: open what is named, place the windows, forecast, score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from service.contract.frequency import Frequency
from service.contract.manifest import ForecastTask, Manifest, StaticCovariate
from training.data.alignment import AlignedSeries, Steps, align_ends, split_time
from training.data.load_series import load_series
from training.data.series import Array, SeriesSet
from training.data.static import static_as_trained
from training.errors import TrainingError
from training.evaluate_settings import BacktestSettings
from training.evaluation.backtest import rolling_origins
from training.evaluation.contenders import (
    Task,
    Told,
    baseline_forecasts,
    default_baselines,
    published_forecasts,
)
from training.evaluation.forecast_evaluation import defined, metric_season
from training.evaluation.metrics import Array as Numbers
from training.evaluation.metrics import coverage_one_step, forecast_metrics, seasonal_error
from training.evaluation.parallel import Stopped
from training.forecaster_settings import LONGEST_HORIZON, EvaluationSettings, FileSettings, seasons_of
from training.waiting import waiting

SEASON = "season"
"""The static covariate by which a model without a frequency may be told the length of the season."""


@dataclass(frozen=True)
class Subject:
    """One thing to measure: a published forecaster, or a baseline."""

    name: str
    folder: Path | None = None
    manifest: Manifest | None = None

    @property
    def task(self) -> ForecastTask | None:
        return None if self.manifest is None else self.manifest.forecast


@dataclass(frozen=True)
class Outcome:
    """What one of them came to."""

    told: Told
    metrics: dict[str, float]


@dataclass(frozen=True)
class Comparison:
    """All of them on the same windows of the same series."""

    series: SeriesSet
    aligned: AlignedSeries
    origins: Steps
    horizon: int
    scales: Numbers
    """(N,) seasonal errors before the first origin."""
    scale_season: int
    outcomes: dict[str, Outcome]
    """By name; those that were asked for come first."""


def compare(
    subjects: Sequence[Subject], data: Path, file_settings: FileSettings, settings: BacktestSettings
) -> Comparison:
    """Forecasts and metrics of every subject, and of the simple baselines beside them.

    Raises:
        TrainingError: a file, a frequency or a setting that does not fit.
        Stopped: SIGINT or SIGTERM came.
    """
    frequency = common_frequency(subjects, settings.frequency)
    horizon = settings.horizon or _usual_horizon(subjects, frequency)
    series = load_series(data, frequency, file_settings.form((), ()))
    stride = settings.stride or horizon
    origins = origins_of(series, settings, horizon, stride)
    seasons = seasons_of(EvaluationSettings(seasons=settings.seasons), frequency)
    aligned = align_ends(series)
    task = Task(aligned, origins, horizon, seasons, settings.refit, settings.context_length, settings.jobs)
    first = int(origins[0])
    season = metric_season(frequency)
    scales = seasonal_error(aligned.target[:, :first], season)
    named = [subject.name for subject in subjects]
    others = [Subject(name) for name in default_baselines(seasons) if name not in named]
    outcomes: dict[str, Outcome] = {}
    for subject in (*subjects, *others):
        told = _ask(subject, task, frequency, data, file_settings, settings)
        one_step = {} if told.pit is None else {"coverage_80_one_step": coverage_one_step(told.pit, 0.1, 0.9)}
        outcomes[subject.name] = Outcome(told, defined(forecast_metrics(told.forecasts, scales) | one_step))
    return Comparison(series, aligned, origins, horizon, scales, season, outcomes)


def common_frequency(subjects: Sequence[Subject], given: str | None) -> Frequency:
    """The frequency of all models that have one; the one that was given otherwise."""
    told = {subject.name: subject.task.frequency for subject in subjects if subject.task and subject.task.frequency}
    try:
        frequencies = {name: Frequency.parse(text) for name, text in told.items()}
        wanted = None if given is None else Frequency.parse(given)
    except ValueError as error:
        raise TrainingError(str(error)) from error
    if wanted is None and not frequencies:
        raise TrainingError("frequency: expected --frequency, such as 1h or D, since no model here says it")
    chosen = wanted or next(iter(frequencies.values()))
    for name, frequency in frequencies.items():
        if frequency != chosen:
            raise TrainingError(f"model {name}: expected one for values every {chosen}, got one for every {frequency}")
    return chosen


def _usual_horizon(subjects: Sequence[Subject], frequency: Frequency) -> int:
    lengths = [subject.task.prediction_length for subject in subjects if subject.task]
    return lengths[0] if lengths else min(frequency.seasonality, LONGEST_HORIZON)


def origins_of(series: SeriesSet, settings: BacktestSettings, horizon: int, stride: int) -> Steps:
    """(O,) steps of the aligned axis at which forecasts begin.

    Raises:
        TrainingError: a series begins too late for the first of them.
    """
    if settings.windows is None:
        first = split_time(series, str(horizon), settings.test_length, horizon).test
        return rolling_origins(first, series.length, horizon, stride)
    first = series.length - horizon - (settings.windows - 1) * stride
    spans = series.ends - series.begins
    shortest = int(spans.argmin())
    if spans[shortest] <= series.length - first:
        raise TrainingError(
            f"series {series.ids[shortest]!r}: expected more than the {series.length - first} steps that"
            f" {settings.windows} windows take, got {spans[shortest]}; take fewer --windows, a shorter --stride or"
            " --horizon, or leave the series out with --series"
        )
    return rolling_origins(first, series.length, horizon, stride)


def _ask(
    subject: Subject,
    task: Task,
    frequency: Frequency,
    data: Path,
    file_settings: FileSettings,
    settings: BacktestSettings,
) -> Told:
    try:
        with waiting(f"forecasting: {subject.name}") as advanced:
            if subject.folder is None or subject.task is None:
                return baseline_forecasts(subject.name, task, advanced)
            own = _series_for(subject.task, frequency, data, file_settings)
            if settings.refit:
                return _refitted(subject, subject.task, own, task, settings, advanced)
            return published_forecasts(
                subject.folder,
                replace(task, series=_aligned_for(subject.task, own)),
                settings.paths,
                settings.seed,
                sampled=settings.sampled,
                advanced=advanced,
            )
    except Stopped as stop:
        raise Stopped(stop.done, stop.pieces, subject.name) from stop


def _refitted(
    subject: Subject,
    trained: ForecastTask,
    series: SeriesSet,
    task: Task,
    settings: BacktestSettings,
    advanced: Callable[[float], None],
) -> Told:
    if subject.manifest is None or "fit" not in subject.manifest.training.settings:
        raise TrainingError(f"--refit: expected a model that `training forecaster` made, got {subject.name}")
    from training.refit_forecaster import refitted_backtest  # all of training, which nothing else here needs

    found = refitted_backtest(
        subject.manifest.training.settings,
        series,
        align_ends(series, trained.calendar, ahead=trained.prediction_length),  # its categories by their own numbers
        task.origins,
        task.horizon,
        settings.paths,
        settings.seed,
        sampled=settings.sampled,
        jobs=settings.jobs,
        advanced=advanced,
    )
    return Told(found.forecasts, f"trained anew at each origin, seed {settings.seed}", found.pit)


def _series_for(task: ForecastTask, frequency: Frequency, data: Path, file_settings: FileSettings) -> SeriesSet:
    """The series with the columns that a model takes beside their values."""
    static = tuple(covariate.name for covariate in task.static_covariates) if task.frequency else ()
    return load_series(data, frequency, file_settings.form(task.future_covariates, static))


def _aligned_for(task: ForecastTask, series: SeriesSet) -> AlignedSeries:
    """The same, aligned, with calendar and static covariates as the model knows them."""
    static = static_as_trained(series, task.static_covariates)
    if task.frequency is None:
        static = _with_season(static, task.static_covariates, series.frequency)
    return align_ends(series, task.calendar, static, ahead=task.prediction_length)


def _with_season(static: Array | None, covariates: Sequence[StaticCovariate], frequency: Frequency) -> Array | None:
    """The same (N, D) with the season that is usual for the frequency, for a model that may be told one."""
    names = [covariate.name for covariate in covariates]
    if static is not None and SEASON in names and frequency.seasonality > 1:
        static[:, names.index(SEASON)] = frequency.seasonality
    return static
