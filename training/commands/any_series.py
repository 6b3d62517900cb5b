"""`python -m training any_series`: the general streaming model, from files of series of any frequency and made streams.

It learns to foretell the next value of any stream and how far it may lie off. Streams that a benchmark measures it on
have no place among the files.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from training.any_series.corpus import CorpusSettings
from training.any_series.files import fingerprint, read_files
from training.any_series.recipe import (
    AnySeriesEvaluationSettings,
    AnySeriesFitSettings,
    AnySeriesNetworkSettings,
    fit_any_series,
    measure,
    prepare,
)
from training.any_series_files import save_any_series
from training.evaluation.forecast_evaluation import Evaluation
from training.fit import FitResult
from training.model_name import model_name
from training.networks.any_series import AnySeries
from training.options import settings_as_options
from training.publish_any_series import publish_any_series
from training.report import metrics_table
from training.run_record import begin_run, record_command, save_result
from training.stopped import stopped


@settings_as_options
def any_series(
    data: Annotated[list[Path], typer.Option(help="CSV file of series, of any frequency; may be given several times")],
    corpus_settings: CorpusSettings,
    network_settings: AnySeriesNetworkSettings,
    evaluation: AnySeriesEvaluationSettings,
    fit_settings: AnySeriesFitSettings,
    run_folder: Annotated[Path | None, typer.Option(help="checkpoint, history, results; runs/<name> otherwise")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="continue the run in the run folder")] = False,
    publish: Annotated[bool, typer.Option(help="publish the model at the end; `export` does it later")] = True,
    models: Annotated[Path, typer.Option(help="model repository to publish into")] = Path("models"),
    name: Annotated[str, typer.Option(help="model name")] = "any-series",
    description: Annotated[str | None, typer.Option(help="one sentence for the model card")] = None,
    license: Annotated[str, typer.Option(help="of the model, which follows from that of its data")] = "not stated",
) -> None:
    """Train a streaming forecaster and anomaly detector for any series, measure it on their ends, publish it."""
    name = model_name(name, data[0])
    run = run_folder or Path("runs") / name
    real = read_files(data)
    data_name, digest = fingerprint(data)
    prepared = prepare(list(real.values()), network_settings, corpus_settings, evaluation, fit_settings.seed)
    record = record_command(
        "forecast",
        data_name,
        digest,
        fit_settings.seed,
        settings={
            "network": asdict(prepared.settings),
            "corpus": asdict(corpus_settings),
            "evaluation": asdict(evaluation),
            "fit": asdict(fit_settings),
            "card": {"name": name, "description": description, "license": license},
        },
    )
    begin_run(run, record, resume=resume)
    torch.manual_seed(fit_settings.seed)
    network = AnySeries(prepared.settings)
    fitted = fit_any_series(network, prepared, fit_settings, run, resume=resume)
    if fitted.interrupted:
        raise stopped(run)
    save_any_series(network, run)
    found = measure(network, prepared, evaluation, fit_settings.seed)
    save_result(run, _result(fitted, found, evaluation, len(prepared.real)))
    Console().print(metrics_table({name: found.metrics, **found.baselines}), highlight=False, soft_wrap=True)
    if publish:
        Console().print(f"published {publish_any_series(run, models, name)}", highlight=False, soft_wrap=True)


def _result(
    fitted: FitResult, found: Evaluation, evaluation: AnySeriesEvaluationSettings, series: int
) -> dict[str, Any]:
    measured = min(evaluation.measured, series)
    loss = {
        "train": [epoch.train_loss for epoch in fitted.history],
        "validation": [epoch.validation_loss for epoch in fitted.history],
        "best": fitted.best_epoch,
    }
    evaluated = (
        f"On the last {evaluation.horizon} values of {measured} of the real series, which training never saw: one"
        f" forecast each from quantiles of {evaluation.paths} sampled paths, run through the published graphs, with no"
        " frequency and no season told. MASE is scaled by the mean absolute difference 24 steps apart."
    )
    samples = [asdict(sample) | {"id": f"series {sample.series}", "first": None} for sample in found.samples]
    return found.to_dict() | {"loss": loss, "evaluated": evaluated, "samples": samples}
