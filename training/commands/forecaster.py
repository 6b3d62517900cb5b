"""`python -m training forecaster`: from a file of series to a forecaster in a run folder, and on to a published model.

The end of every series is held out twice: the last stretch measures the finished model, the one before it decides
when to stop training and how wide the intervals are.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training import distributed
from training.data.alignment import split_time
from training.data.load_series import load_series
from training.direct_settings import DirectSettings
from training.forecaster_files import save_forecaster
from training.forecaster_recipe import described, measure, parse_frequency
from training.forecaster_settings import (
    DecoderSettings,
    EvaluationSettings,
    ForecasterFitSettings,
    NetworkSettings,
    SeriesSettings,
)
from training.model_name import model_name
from training.options import settings_as_options
from training.prepare_forecaster import decoders_of, prepare, settings_of_decoders
from training.publish_forecaster import publish_forecaster
from training.report import metrics_table
from training.run_record import begin_run, record_command, save_result
from training.stopped import stopped
from training.train_forecaster import Trained, finish, fit_forecaster


@settings_as_options
def forecaster(
    data: Annotated[Path, typer.Option(help="CSV or Parquet file of series")],
    frequency: Annotated[str, typer.Option(help="time between two values: 1h, 15min, D, W, MS …")],
    series_settings: SeriesSettings,
    network_settings: NetworkSettings,
    decoder_settings: DecoderSettings,
    direct_settings: DirectSettings,
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
    split = split_time(series, series_settings.validation_length, series_settings.test_length, evaluation.horizon)
    prepared = [
        prepare(decoder, series, split, evaluation.horizon, network_settings, direct_settings)
        for decoder in decoders_of(decoder_settings, series)
    ]
    record = record_command(
        "forecast",
        series.name,
        series.sha256,
        fit_settings.seed,
        settings={
            "data": asdict(series_settings) | {"frequency": str(series.frequency), "ids": list(series.ids)},
            "decoder": asdict(decoder_settings),
            **settings_of_decoders(prepared),
            "evaluation": asdict(evaluation),
            "fit": asdict(fit_settings),
            "card": {"name": name, "description": description, "license": license},
        },
    )
    with distributed.process_group():
        first = distributed.rank() == 0
        if first:
            begin_run(run, record, resume=resume)
        fitted = []
        for one in prepared:
            folder = run if one is prepared[0] else run / one.decoder
            place = distributed.local_device(device)
            members = decoder_settings.members
            fitted.append(fit_forecaster(one, members, fit_settings, folder, resume=resume, device=place))
            if fitted[-1].interrupted:
                raise stopped(run)
        if not first:
            return

    trained = [finish(one, members, evaluation, record.seed) for one, members in zip(prepared, fitted, strict=True)]
    _measure(trained, evaluation, run, name, record.seed)
    if publish:
        Console().print(f"published {publish_forecaster(run, models, name)}", highlight=False, soft_wrap=True)


def _measure(trained: list[Trained], evaluation: EvaluationSettings, run: Path, name: str, seed: int) -> None:
    """Choose by validation, measure the test stretch, and keep network and findings in the run folder."""
    chosen, *others = sorted(trained, key=lambda one: one.score)
    save_forecaster(chosen.network, run)
    split = chosen.prepared.split
    found = measure(chosen.network, chosen.prepared, evaluation, seed, split.test, split.end)
    compared: dict[str, dict[str, float]] = {one.decoder: one.validation.metrics for one in trained}
    save_result(run, described(chosen.prepared, found) | chosen.to_dict() | {"decoders": compared})
    if others:
        Console().print(f"chosen: {chosen.decoder}, on the validation stretch", highlight=False)
        Console().print(metrics_table(compared), highlight=False, soft_wrap=True)
    Console().print(metrics_table({name: found.metrics, **found.baselines}), highlight=False, soft_wrap=True)
