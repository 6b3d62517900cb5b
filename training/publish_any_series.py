"""From the run folder of the general model to its next published version: export, parity, card, one rename."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from service.contract.manifest import ForecastTask, StaticCovariate
from training.any_series_files import load_any_series
from training.evaluation.metrics import LEVELS
from training.evaluation.plots import Fan
from training.export import any_series_parity, export_any_series, publish
from training.export.any_series import SEASON
from training.networks.any_series import AnySeriesSettings
from training.report import ForecastSection, LossCurve, write_card
from training.run_card import run_card
from training.run_record import load_record, load_result


def publish_any_series(run: Path, models: Path, name: str) -> Path:
    """Publish the network of a finished run as the next version of `models/<name>`, and return that folder.

    Raises:
        TrainingError: the run is not finished.
        ParityError: the graphs do not compute what the network does.
    """
    record, result, network = load_record(run), load_result(run), load_any_series(run)
    evaluation, loss = record.settings["evaluation"], result["loss"]
    card = run_card(
        record,
        name,
        "Forecasts any stream and tells what is unusual in it, without training on it and without knowing its"
        f" frequency: {network.settings.cell} over simple experts.",
        metrics=result["metrics"],
        baselines=result["baselines"],
        loss=LossCurve(loss["train"], loss["validation"], loss["best"], "quantile loss, one step"),
        notes=_notes(network.settings, evaluation["anomaly_threshold"]),
    )
    task = any_series_task(network.settings, evaluation["horizon"], evaluation["anomaly_threshold"])
    with tempfile.TemporaryDirectory() as folder:
        verified = any_series_parity(network, export_any_series(network, Path(folder)))
        write_card(Path(folder), card, _section(result))
        return publish(
            verified,
            models,
            name=name,
            description=card.description,
            license=card.license,
            forecast=task,
            training=record.provenance(result, verified.max_abs_error),
        )


def any_series_task(settings: AnySeriesSettings, horizon: int, anomaly_threshold: float) -> ForecastTask:
    """The manifest's section: no frequency, and a season where a session tells one."""
    return ForecastTask(
        frequency=None,
        quantiles=settings.quantiles,
        static_covariates=(StaticCovariate(name=SEASON),),
        lags=settings.experts.lags,
        seasonality=1,
        context_length=settings.experts.history,
        prediction_length=horizon,
        anomaly_threshold=anomaly_threshold,
    )


def _notes(settings: AnySeriesSettings, threshold: float) -> list[str]:
    lags = settings.experts.lags
    return [
        "Takes a stream of any frequency, one value after another, and needs no training on it: simple experts (last"
        f" values, running levels, values, means and medians of {len(lags)} lags up to {max(lags)} steps) each foretell"
        " the next value, and the recurrent network weighs them and spreads quantiles around them. A session may tell"
        f" the steps of its season as the static covariate `{SEASON}`; without it the model finds one of its lags by"
        " itself. It counts steps, unless a session tells its frequency.",
        "`anomaly_score` is 0 for most values. It compares a surprise with the greatest ones of the stream's stretches"
        f" of {settings.anomaly.rest} values: by Markov's inequality at most a share 1 − score of such stretches hold"
        f" one as large. Values are flagged from {threshold:g} on, the first {settings.anomaly.warm_up} of a stream"
        " never.",
    ]


def _section(result: dict[str, Any]) -> ForecastSection:
    fans = [
        Fan(sample["id"], sample["history"], sample["actual"], np.array(sample["quantiles"]), LEVELS)
        for sample in result["samples"]
    ]
    covered = {float(level): share for level, share in result["covered"].items()}
    return ForecastSection(result["evaluated"], fans, covered, result["pit"])
