"""`python -m training score`: scores a file of series with a published forecaster, as sessions of the service would."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer
from rich.console import Console
from rich.table import Column, Table

from service.contract.frequency import Frequency, format_timestamp
from service.contract.manifest import ForecastTask, Manifest, ManifestError, load_manifest
from training.errors import TrainingError
from training.export import ExportedForecaster
from training.forecaster_settings import FileSettings
from training.options import settings_as_options
from training.scoring.figure import file_names, plot_scored
from training.scoring.scored import Scored, score_streams
from training.scoring.streams import read_streams
from training.scoring.table import scored_table, write_table
from training.waiting import waiting

_ROWS_SHOWN = 40


@settings_as_options
def score(
    model: Annotated[Path, typer.Argument(help="folder of a published version, such as models/any-series/1")],
    data: Annotated[Path, typer.Argument(help="CSV or Parquet file of series")],
    file_settings: FileSettings,
    out: Annotated[Path | None, typer.Option(help="folder of table and figures; FILE-scores otherwise")] = None,
    table: Annotated[Literal["csv", "parquet"], typer.Option(help="format of the table")] = "csv",
    threshold: Annotated[float | None, typer.Option(help="score from which on to flag; the model's otherwise")] = None,
    frequency: Annotated[str | None, typer.Option(help="for a model without one: fills gaps, tells the season")] = None,
    figures: Annotated[int, typer.Option(min=0, help="series to draw, the strangest first; 0 draws none")] = 20,
) -> None:
    """Score every value of every series: what was expected, within which interval, how rare it was, and whether it is
    an anomaly. Writes a table, and a figure of each series.
    """
    manifest = _manifest(model)
    task = _forecast_task(manifest)
    level = _threshold(threshold, task)
    form = file_settings.form(task.future_covariates, ())
    streams = read_streams(data, task, form, _frequency(task, frequency, manifest))
    with waiting("scoring") as advanced:
        scored = score_streams(ExportedForecaster(model), task, streams, level, advanced)
    folder = data.with_name(f"{data.stem}-scores") if out is None else out
    write_table(scored_table(scored, form), folder / f"scores.{table}")
    drawn = sorted(zip(scored, file_names(stream.id for stream in streams), strict=True), key=_strangeness)[:figures]
    for one, name in drawn:
        plot_scored(folder / f"{name}.png", one, level, task.unit)
    _tell(manifest, scored, level, folder)


def _manifest(folder: Path) -> Manifest:
    try:
        return load_manifest(folder)
    except ManifestError as error:
        raise TrainingError(f"model {folder}: expected the folder of a published version: {error}") from error


def _forecast_task(manifest: Manifest) -> ForecastTask:
    if manifest.forecast is None:
        raise TrainingError(f"model {manifest.id}: expected a forecaster, got one for {manifest.task}")
    return manifest.forecast


def _threshold(given: float | None, task: ForecastTask) -> float | None:
    if given is not None and not 0 < given <= 1:
        raise TrainingError(f"--threshold: expected a score above 0 and at most 1, such as 0.999, got {given:g}")
    return task.anomaly_threshold if given is None else given


def _frequency(task: ForecastTask, given: str | None, manifest: Manifest) -> Frequency | None:
    """The time between observations; None for a model that counts steps and was told none."""
    try:
        told = None if given is None else Frequency.parse(given)
    except ValueError as error:
        raise TrainingError(f"--{error}") from error
    if task.frequency is None:
        return told
    own = Frequency.parse(task.frequency)
    if told not in (None, own):
        raise TrainingError(f"--frequency: model {manifest.id} takes observations every {own}, got {told}")
    return own


def _strangeness(one: tuple[Scored, str]) -> tuple[int, float]:
    """For sorting: most anomalies first, then the highest score."""
    return -_count(one[0]), -float(np.fmax.reduce(one[0].score, initial=0))


def _count(one: Scored) -> int:
    return 0 if one.anomaly is None else int(one.anomaly.sum())


def _tell(manifest: Manifest, scored: Sequence[Scored], threshold: float | None, folder: Path) -> None:
    console = Console()
    columns = ("values", "missing", *(() if threshold is None else ("anomalies",)), "highest score", "at")
    table = Table(Column("", no_wrap=True), *columns)
    for one in scored[:_ROWS_SHOWN]:
        table.add_row(*_row(one))
    console.print(table)
    if len(scored) > _ROWS_SHOWN:
        console.print(f"… and {len(scored) - _ROWS_SHOWN} series more")
    if threshold is None:
        told = f"{manifest.id} has no threshold, so that nothing is flagged: give --threshold, such as 0.999"
    else:
        told = (
            f"flagged: scores from {threshold:g} on, which at most {1 - threshold:.2g} of a usual stream's values reach"
        )
    console.print(f"{told}\nlower and upper: {100 * scored[0].level:.0f} % interval", highlight=False, soft_wrap=True)
    console.print(f"written to {folder}", highlight=False, soft_wrap=True)


def _row(one: Scored) -> list[str]:
    missing = int(np.isnan(one.stream.values).sum())
    known = not np.isnan(one.score).all()
    at = int(np.nanargmax(one.score)) if known else 0
    time = one.stream.times[at]
    shown = format_timestamp(time) if one.stream.times.dtype.kind == "M" else str(time)
    flagged = [] if one.anomaly is None else [f"{_count(one):,}"]
    counts = [f"{len(one.stream.values):,}", f"{missing:,}", *flagged]
    return [one.stream.id, *counts, f"{one.score[at]:.6g}" if known else "–", shown if known else "–"]
