"""`python -m training evaluate`: measures published forecasters and baselines on the end of a file of series, or a
published classifier on labelled sequences."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table

from service.contract.manifest import ClassifyTask, Manifest, ManifestError, load_manifest
from training.classifier_data import ClassifierDataSettings, split_of
from training.data.labelled import LabelledSet, load_labelled
from training.errors import TrainingError
from training.evaluate_forecasters import Comparison, Subject, compare
from training.evaluate_settings import BacktestSettings
from training.evaluation.contenders import is_baseline
from training.evaluation.exported_classifier import evaluate_classifier
from training.evaluation.parallel import Stopped
from training.evaluation_folder import write_evaluation
from training.forecaster_settings import FileSettings
from training.interrupt import STOPPED
from training.options import settings_as_options
from training.run_record import without_folders

COLUMNS = {
    "mase": "MASE",
    "smape": "sMAPE",
    "mean_weighted_quantile_loss": "wQL",
    "scaled_quantile_loss": "SQL",
    "msis": "MSIS",
    "coverage_80": "80 %",
    "coverage_80_one_step": "one step",
    "macro_f1": "macro-F1",
}
"""Headings short enough for a terminal; the report of a folder has longer ones, and all metrics."""
NOT_SHOWN = ("nd",)


@settings_as_options
def evaluate(
    context: typer.Context,
    models: Annotated[
        list[str], typer.Argument(help="folders of published versions, such as models/pjm-load/1, or baselines")
    ],
    data: Annotated[Path, typer.Option(help="CSV or Parquet file of series; labelled sequences for a classifier")],
    file_settings: FileSettings,
    settings: BacktestSettings,
) -> None:
    """Backtest published forecasters and baselines on the end of each series of a file, and print a table.

    Baselines: naive, drift, naive_2, seasonal_naive (or seasonal_naive_168), and, with the extra `statistics`,
    AutoETS, AutoETS_seasonal, AutoARIMA and AutoTheta.

    A classifier is measured alone, on all labelled sequences of a file or folder; other options are a forecaster's.
    """
    subjects = [_subject(name) for name in dict.fromkeys(models)]
    manifest = subjects[0].manifest
    if manifest is not None and manifest.classify is not None and len(subjects) == 1:
        _refuse_options_of_forecasters(context, manifest)
        _classifier(Path(models[0]), manifest, manifest.classify, load_labelled(data))
        return
    _require_forecasters(subjects)
    try:
        found = compare(subjects, data, file_settings, settings)
    except Stopped as stop:
        Console(stderr=True).print(f"{stop}; nothing was written", highlight=False)
        raise typer.Exit(STOPPED) from stop
    console = Console()
    console.print(_table({name: outcome.metrics for name, outcome in found.outcomes.items()}))
    if settings.output is not None:
        _write(settings.output, found, subjects, console)


def _write(folder: Path, found: Comparison, subjects: Sequence[Subject], console: Console) -> None:
    drawn = tuple(subject.name for subject in subjects)
    write_evaluation(folder, found, _command(subjects), drawn)
    console.print(f"written to {folder}", highlight=False, soft_wrap=True)


def _command(subjects: Sequence[Subject]) -> str:
    """The command as typed, with every path shortened, those of models to the model repository."""
    known = {str(subject.folder): f"models/{subject.name}" for subject in subjects}
    arguments = (known.get(str(Path(one)), without_folders(one)) for one in sys.argv[1:])
    return "python -m training " + shlex.join(arguments)


def _subject(name: str) -> Subject:
    folder = Path(name)
    if is_baseline(name) and not folder.is_dir():
        return Subject(name)
    try:
        manifest = load_manifest(folder)
    except ManifestError as error:
        raise TrainingError(
            f"model {folder}: expected the folder of a published version, or a baseline such as AutoETS: {error}"
        ) from error
    return Subject(manifest.id, folder, manifest)


def _require_forecasters(subjects: Sequence[Subject]) -> None:
    alone = len(subjects) == 1
    for manifest in (subject.manifest for subject in subjects):
        if manifest is not None and manifest.forecast is None:
            expected = "a forecaster or a classifier" if alone else "forecasters and baselines"
            raise TrainingError(f"model {manifest.id}: expected {expected}, got one for {manifest.task}")


def _refuse_options_of_forecasters(context: typer.Context, manifest: Manifest) -> None:
    for name in context.params:
        source = context.get_parameter_source(name)
        if name not in ("models", "data") and source is not None and source.name == "COMMANDLINE":
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


def _table(rows: Mapping[str, Mapping[str, float]]) -> Table:
    columns = [key for key in dict.fromkeys(chain(*rows.values())) if key not in NOT_SHOWN]
    headings = (COLUMNS.get(name, name.replace("_", " ")) for name in columns)
    table = Table(Column("", no_wrap=True), *(Column(heading, justify="right") for heading in headings))
    table.box, table.padding = SIMPLE_HEAD, (0, 1, 0, 0)
    for name, metrics in rows.items():
        cells = (f"{metrics[key]:.4g}" if key in metrics else "–" for key in columns)
        table.add_row(name.replace("_", " "), *cells)
    return table
