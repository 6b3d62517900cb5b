"""From the run folder of a forecaster to its next published version: export, parity, card, one rename."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from service.contract.frequency import Frequency, parse_timestamp
from service.contract.manifest import ForecastTask, StaticCovariate
from training.evaluation.forecast_evaluation import metric_season
from training.evaluation.metrics import LEVELS
from training.evaluation.plots import Fan
from training.export import export_forecaster, forecaster_parity, publish
from training.forecaster_files import load_forecaster
from training.networks.forecaster import ForecasterSettings
from training.report import Card, ForecastSection, LossCurve, write_card
from training.run_card import run_card
from training.run_record import RunRecord, load_record, load_result

MOST_NAMED = 20
TOLERATED = 0.01
"""Coverage that finding the spread may be off by: paths are drawn, and validation has so many values."""
FADED = 0.05
"""Share of the scale's weight on values from before the context, when forecasts have settled."""


def publish_forecaster(run: Path, models: Path, name: str) -> Path:
    """Publish the network of a finished run as the next version of `models/<name>`, and return that folder.

    Raises:
        TrainingError: the run is not finished.
        ParityError: the graphs do not compute what the network does.
    """
    record, result, network = load_record(run), load_result(run), load_forecaster(run)
    data, evaluation = record.settings["data"], record.settings["evaluation"]
    frequency = Frequency.parse(data["frequency"])
    task = ForecastTask(
        frequency=str(frequency),
        quantiles=network.settings.quantiles,
        calendar=network.settings.calendar,
        future_covariates=tuple(scale.name for scale in network.settings.covariates),
        static_covariates=tuple(StaticCovariate(name=s.name, categories=s.categories) for s in network.settings.static),
        lags=network.settings.lags,
        seasonality=frequency.seasonality,
        context_length=_context_length(network.settings),
        prediction_length=evaluation["horizon"],
        unit=data["unit"],
    )
    card = _card(record, result, name, frequency)
    with tempfile.TemporaryDirectory() as folder:
        verified = forecaster_parity(network, export_forecaster(network, Path(folder), unit=data["unit"]))
        write_card(Path(folder), card, _section(record, result, frequency))
        return publish(
            verified,
            models,
            name=name,
            description=card.description,
            license=card.license,
            forecast=task,
            training=record.provenance(result, verified.max_abs_error),
        )


def _context_length(settings: ForecasterSettings) -> int:
    """Observations after which every lag is known and the scale has forgotten its beginning."""
    fading = math.ceil(math.log(FADED) / math.log(settings.decay)) if settings.decay < 1 else 0
    return max(settings.max_lag, fading)


def _card(record: RunRecord, result: dict[str, Any], name: str, frequency: Frequency) -> Card:
    data, network = record.settings["data"], record.settings["network"]
    series = f"{len(data['ids'])} series" if len(data["ids"]) > 1 else "one series"
    cell = "RNN (the plain one)" if network["cell"] == "RNN" else network["cell"]
    general = f"Forecasts series at frequency {frequency}; {cell}, trained on {series} of {record.data_name}."
    loss = result["loss"]
    return run_card(
        record,
        name,
        general,
        metrics=result["metrics"],
        baselines=result["baselines"],
        loss=LossCurve(loss["train"], loss["validation"], loss["best"], "quantile loss, one step"),
        notes=_notes(record, result),
    )


def _notes(record: RunRecord, result: dict[str, Any]) -> list[str]:
    ids, validation = record.settings["data"]["ids"], result["validation"]
    notes = [f"Series: {', '.join(ids)}."] if len(ids) <= MOST_NAMED else []
    chosen = (("mase", "MASE"), ("mean_weighted_quantile_loss", "mean weighted quantile loss"))
    shown = [f"{label} {validation[key]:.4g}" for key, label in chosen if key in validation]
    if shown:
        notes.append(
            f"On the validation stretch: {', '.join(shown)}; to choose between seeds and settings, look at these."
        )
    if result["spread"] != 1:
        notes.append(_spread_note(result["spread"], result.get("spread_covered"), record))
    return notes


def _spread_note(factor: float, covered: float | None, record: RunRecord) -> str:
    wanted: float = record.settings["evaluation"]["cover"]
    reached = wanted if covered is None else covered  # runs of earlier versions do not say
    missed = abs(reached - wanted) > TOLERATED
    meant = f", the nearest within reach to the {100 * wanted:.0f} % that were wanted" if missed else ""
    return (
        f"The gaps between quantiles were multiplied by {factor:.3f}, the factor at which the 80 % intervals, one"
        f" step ahead and free-running on average, covered {100 * (reached if missed else wanted):.0f} % of the"
        f" validation stretch{meant}. Neither the weights nor the factor saw the test."
    )


def _section(record: RunRecord, result: dict[str, Any], frequency: Frequency) -> ForecastSection:
    data, evaluation, split = record.settings["data"], record.settings["evaluation"], result["split"]
    stride = evaluation["stride"] or evaluation["horizon"]
    season = metric_season(frequency)
    evaluated = (
        f"On the last {split['end'] - split['test']} steps of each series, which training never saw: "
        f"{result['origins']} forecasts per series, {evaluation['horizon']} steps ahead, every {stride} steps, "
        f"quantiles of {evaluation['paths']} sampled paths, run through the published graphs. MASE is scaled by the "
        f"mean absolute difference {season} step{'s' * (season > 1)} apart before the test; the quantile loss is the "
        "mean over the nine deciles. Baselines have normal intervals from their own errors before the test."
    )
    return ForecastSection(
        evaluated=evaluated,
        fans=[_fan(sample, frequency) for sample in result["samples"]],
        covered={float(level): share for level, share in result["covered"].items()},
        pit=result["pit"],
        unit=data["unit"],
    )


def _fan(sample: dict[str, Any], frequency: Frequency) -> Fan:
    # Months and longer have no fixed step: they are numbered.
    dated = sample["first"] is not None and frequency.unit in ("s", "min", "h", "D", "W")
    first = parse_timestamp(sample["first"]) if dated else None
    count = len(sample["history"]) + len(sample["actual"])
    times = frequency.timestamps(first, 0, count) if first is not None else None
    when = f", {times[len(sample['history'])]}Z" if times is not None else ""
    return Fan(
        title=f"{sample['id']}{when}",
        history=sample["history"],
        actual=sample["actual"],
        quantiles=np.array(sample["quantiles"]),
        levels=LEVELS,
        times=times,
    )
