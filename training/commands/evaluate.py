"""`python -m training evaluate`: measures a published forecaster on the end of a file of series, beside baselines, or a
published classifier on labelled sequences."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Column, Table

from service.contract.frequency import Frequency
from service.contract.manifest import (
    ClassifyTask,
    ForecastTask,
    Manifest,
    ManifestError,
    StaticCovariate,
    load_manifest,
)
from training.classifier_data import ClassifierDataSettings, split_of
from training.data.alignment import align_ends, split_time
from training.data.labelled import LabelledSet, load_labelled
from training.data.load_series import load_series
from training.data.series import Array, SeriesSet
from training.errors import TrainingError
from training.evaluation.exported_classifier import evaluate_classifier
from training.evaluation.forecast_evaluation import evaluate_forecaster, metric_season
from training.export import ExportedForecaster
from training.forecaster_settings import EvaluationSettings, FileSettings, seasons_of
from training.options import settings_as_options
from training.report import METRIC_NAMES
from training.waiting import waiting


@settings_as_options
def evaluate(
    context: typer.Context,
    model: Annotated[Path, typer.Argument(help="folder of a published version, such as models/pjm-load/1")],
    data: Annotated[Path, typer.Option(help="CSV or Parquet file of series; labelled sequences for a classifier")],
    file_settings: FileSettings,
    test_length: Annotated[str | None, typer.Option(help="at the end, such as 672 or 4W; a tenth otherwise")] = None,
    horizon: Annotated[int | None, typer.Option(help="steps per forecast; the model's own otherwise")] = None,
    stride: Annotated[int, typer.Option(help="steps between forecast origins; 0: the horizon")] = 0,
    paths: Annotated[int, typer.Option(help="sampled futures per forecast")] = 200,
    seasons: Annotated[str, typer.Option(help="of the seasonal naive baselines; by the frequency otherwise")] = "",
    seed: Annotated[int, typer.Option(help="of the sampled futures")] = 0,
) -> None:
    """Backtest a published forecaster on the end of each series of a file, and print a table.

    A classifier is measured on all labelled sequences of a file or folder; the other options are a forecaster's.
    """
    manifest = _manifest(model)
    if manifest.classify is not None:
        _refuse_options_of_forecasters(context, manifest)
        _classifier(model, manifest, manifest.classify, load_labelled(data))
        return
    task = _forecast_task(manifest)
    settings = EvaluationSettings(horizon or task.prediction_length, stride, paths, seasons)
    frequency = Frequency.parse(task.frequency)
    static = tuple(covariate.name for covariate in task.static_covariates)
    series = load_series(data, frequency, file_settings.form(task.future_covariates, static))
    test = split_time(series, str(settings.horizon), test_length, settings.horizon).test
    aligned = align_ends(series, task.calendar, _static_of_the_model(series, task.static_covariates))
    with waiting("forecasting") as advanced:
        measured = evaluate_forecaster(
            ExportedForecaster(model),
            aligned,
            test,
            series.length,
            horizon=settings.horizon,
            stride=settings.stride or settings.horizon,
            paths=settings.paths,
            seed=seed,
            seasons=seasons_of(settings, frequency),
            metric_season=metric_season(frequency),
            advanced=advanced,
        )
    Console().print(_table({manifest.id: measured.metrics, **measured.baselines}))


def _refuse_options_of_forecasters(context: typer.Context, manifest: Manifest) -> None:
    for name in context.params:
        source = context.get_parameter_source(name)
        if name not in ("model", "data") and source is not None and source.name == "COMMANDLINE":
            raise TrainingError(
                f"--{name.replace('_', '-')}: expected with a forecaster; {manifest.id} is a classifier"
            )


def _classifier(folder: Path, manifest: Manifest, task: ClassifyTask, data: LabelledSet) -> None:
    found, console = evaluate_classifier(folder, task, data), Console()
    console.print(_table({manifest.id: found["model"], "majority class": found["majority"]}))
    training, notes = manifest.training, [data.note]
    if data.sha256 == training.data.sha256:  # the data of training: its split can be made again
        settings = ClassifierDataSettings(**training.settings["data"])
        trained, *_ = split_of(data, settings, training.settings["fit"]["seed"])
        notes.append(f"note: {manifest.id} was trained on {len(trained):,} of these {len(data.sequences):,} sequences")
    for note in filter(None, notes):
        console.print(note, highlight=False, soft_wrap=True)


def _manifest(folder: Path) -> Manifest:
    try:
        return load_manifest(folder)
    except ManifestError as error:
        raise TrainingError(f"model {folder}: expected the folder of a published version: {error}") from error


def _forecast_task(manifest: Manifest) -> ForecastTask:
    if manifest.forecast is None:
        raise TrainingError(f"model {manifest.id}: expected a forecaster or a classifier, got one for {manifest.task}")
    return manifest.forecast


def _static_of_the_model(series: SeriesSet, expected: tuple[StaticCovariate, ...]) -> Array | None:
    """(N, D) with categories numbered as the model has them; one it does not know is −1."""
    if series.static is None:
        return None
    columns = [
        _renumbered(column, found, covariate)
        for column, found, covariate in zip(series.static.T, series.static_covariates, expected, strict=True)
    ]
    return np.stack(columns, -1)


def _renumbered(column: Array, found: StaticCovariate, expected: StaticCovariate) -> Array:
    if (found.categories is None) != (expected.categories is None):
        wanted, got = ("numbers", "categories") if expected.categories is None else ("categories", "numbers")
        raise TrainingError(f"static {expected.name}: expected {wanted} as in training, got {got}")
    if found.categories is None or expected.categories is None:
        return column
    known = {category: index for index, category in enumerate(expected.categories)}
    numbers = [known.get(category, -1) for category in found.categories]
    return np.array([numbers[int(index)] if index >= 0 else -1 for index in column], np.float32)


def _table(rows: Mapping[str, Mapping[str, float]]) -> Table:
    columns = list(dict.fromkeys(key for metrics in rows.values() for key in metrics))
    table = Table(Column("", no_wrap=True), *(METRIC_NAMES.get(name, name.replace("_", " ")) for name in columns))
    for name, metrics in rows.items():
        cells = (f"{metrics[key]:.4g}" if key in metrics else "–" for key in columns)
        table.add_row(name.replace("_", " "), *cells)
    return table
