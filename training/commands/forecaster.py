"""`python -m training forecaster`: from a file of series to a forecaster in a run folder, and on to a published model.

The end of every series is held out twice: the last stretch measures the finished model, the one before it decides
when to stop training and how wide the intervals are.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from training import distributed
from training.data.load_series import load_series
from training.fit import FitResult
from training.forecaster_files import save_forecaster
from training.forecaster_recipe import (
    Prepared,
    described,
    fit_forecaster,
    measure,
    parse_frequency,
    prepare,
    set_spread,
)
from training.forecaster_settings import EvaluationSettings, ForecasterFitSettings, NetworkSettings, SeriesSettings
from training.model_name import model_name
from training.networks.forecaster import Forecaster
from training.options import settings_as_options
from training.publish_forecaster import publish_forecaster
from training.report import metrics_table
from training.run_record import begin_run, record_command, save_result
from training.stopped import stopped


@settings_as_options
def forecaster(
    data: Annotated[Path, typer.Option(help="CSV or Parquet file of series")],
    frequency: Annotated[str, typer.Option(help="time between two values: 1h, 15min, D, W, MS …")],
    series_settings: SeriesSettings,
    network_settings: NetworkSettings,
    evaluation: EvaluationSettings,
    fit_settings: ForecasterFitSettings,
    run_folder: Annotated[Path | None, typer.Option(help="checkpoint, history, results; runs/<name> otherwise")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="continue the run in the run folder")] = False,
    publish: Annotated[bool, typer.Option(help="publish the model at the end; `export` does it later")] = True,
    models: Annotated[Path, typer.Option(help="model repository to publish into")] = Path("models"),
    name: Annotated[str | None, typer.Option(help="model name; the data's name otherwise")] = None,
    description: Annotated[str | None, typer.Option(help="one sentence for the model card")] = None,
    license: Annotated[str, typer.Option(help="of the model, which follows from that of its data")] = "not stated",
) -> None:
    """Train a probabilistic forecaster on all series of a file, measure it on their end, publish it."""
    name = model_name(name, data)
    run = run_folder or Path("runs") / name
    series = load_series(data, parse_frequency(frequency), series_settings.columns())
    evaluation = evaluation.settled(series.frequency)
    prepared = prepare(series, series_settings, network_settings, evaluation.horizon)
    record = record_command(
        "forecast",
        series.name,
        series.sha256,
        fit_settings.seed,
        settings={
            "data": asdict(series_settings) | {"frequency": str(series.frequency), "ids": list(series.ids)},
            "network": asdict(prepared.settings),
            "evaluation": asdict(evaluation),
            "fit": asdict(fit_settings),
            "card": {"name": name, "description": description, "license": license},
        },
    )
    with distributed.process_group():
        first = distributed.rank() == 0
        if first:
            begin_run(run, record, resume=resume)
        torch.manual_seed(fit_settings.seed)
        network = Forecaster(prepared.settings).to(distributed.local_device(device))
        result = fit_forecaster(network, prepared, fit_settings, run, resume)
        if result.interrupted:
            raise stopped(run)
        if not first:
            return

    _finish(network.cpu(), prepared, evaluation, result, run, name, record.seed)
    if publish:
        Console().print(f"published {publish_forecaster(run, models, name)}", highlight=False, soft_wrap=True)


def _finish(
    network: Forecaster,
    prepared: Prepared,
    evaluation: EvaluationSettings,
    fitted: FitResult,
    run: Path,
    name: str,
    seed: int,
) -> None:
    """Set the spread, measure, and keep network and findings in the run folder."""
    factor, covered = 1.0, None
    if evaluation.cover:
        factor, covered, network = set_spread(network, prepared, evaluation, seed)
    save_forecaster(network, run)
    split = prepared.split
    validation = measure(network, prepared, evaluation, seed, split.validation, split.test)
    found = measure(network, prepared, evaluation, seed, split.test, split.end)
    loss = {
        "train": [epoch.train_loss for epoch in fitted.history],
        "validation": [epoch.validation_loss for epoch in fitted.history],
        "best": fitted.best_epoch,
    }
    spread = {"spread": factor, "spread_covered": covered}
    rest = spread | {"loss": loss, "split": asdict(split), "validation": validation.metrics}
    save_result(run, described(prepared, found) | rest)
    Console().print(metrics_table({name: found.metrics, **found.baselines}), highlight=False, soft_wrap=True)
