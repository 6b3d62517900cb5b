"""From the run folder of a forecaster to its next published version: export, parity, card, one rename."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from service.contract.frequency import Frequency, parse_timestamp
from training.evaluation.forecast_evaluation import metric_season
from training.evaluation.metrics import LEVELS
from training.evaluation.plots import Fan
from training.export import publish
from training.export.any_forecaster import any_parity, export_any
from training.forecast_task import forecast_task
from training.forecaster_files import load_forecaster
from training.networks.decoders import decoder_of
from training.prepare_forecaster import chosen_alone
from training.report import Card, ForecastSection, LossCurve, write_card
from training.run_card import run_card
from training.run_record import RunRecord, load_record, load_result

MOST_NAMED = 20
TOLERATED = 0.01
"""Coverage that finding the spread may be off by: paths are drawn, and validation has so many values."""
CHOSEN_BY = {"mase": "MASE", "mean_weighted_quantile_loss": "mean weighted quantile loss"}
"""Measures of the validation stretch that a card names."""


def publish_forecaster(run: Path, models: Path, name: str) -> Path:
    """Publish the network of a finished run as the next version of `models/<name>`, and return that folder.

    Raises:
        TrainingError: the run is not finished.
        ParityError: the graphs do not compute what the network does.
    """
    record, result, network = load_record(run), load_result(run), load_forecaster(run)
    data, evaluation = record.settings["data"], record.settings["evaluation"]
    frequency = Frequency.parse(data["frequency"])
    correlation = result.get("path_correlation")
    task = forecast_task(network, frequency, evaluation["horizon"], data["unit"], correlation)
    record = replace(record, settings=chosen_alone(record.settings, decoder_of(network)))
    card = _card(record, result, name, frequency)
    with tempfile.TemporaryDirectory() as folder:
        verified = any_parity(network, export_any(network, Path(folder), unit=data["unit"]))
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


def _card(record: RunRecord, result: dict[str, Any], name: str, frequency: Frequency) -> Card:
    data = record.settings["data"]
    series = f"{len(data['ids'])} series" if len(data["ids"]) > 1 else "one series"
    members = record.settings["decoder"].get("members", 1)
    several = f"{members} networks averaged, each " if members > 1 else ""
    kind = several + _kind(record.settings)
    direct = _is_direct(result)
    loss = result["loss"]
    return run_card(
        record,
        name,
        f"Forecasts series at frequency {frequency}; {kind}, trained on {series} of {record.data_name}.",
        metrics=result["metrics"],
        baselines=result["baselines"],
        loss=LossCurve(
            loss["train"],
            loss["validation"],
            loss["best"],
            "quantile loss, whole horizon" if direct else "quantile loss, one step",
        ),
        notes=_notes(record, result),
    )


def _kind(settings: Mapping[str, Any]) -> str:
    if "segments" in settings:
        return f"GRU over segments of the last {settings['segments']['context_length']} values, all steps ahead at once"
    cell: str = settings["network"]["cell"]
    return "RNN (the plain one)" if cell == "RNN" else cell


def _is_direct(result: Mapping[str, Any]) -> bool:
    return result.get("decoder") == "direct"


def _notes(record: RunRecord, result: dict[str, Any]) -> list[str]:
    ids, validation = record.settings["data"]["ids"], result["validation"]
    notes = [f"Series: {', '.join(ids)}."] if len(ids) <= MOST_NAMED else []
    shown = [f"{label} {validation[key]:.4g}" for key, label in CHOSEN_BY.items() if key in validation]
    if shown:
        notes.append(
            f"On the validation stretch: {', '.join(shown)}; to choose between seeds and settings, look at these."
        )
    if len(result.get("decoders", {})) > 1:
        notes.append(_decoders_note(result["decoders"], result["decoder"]))
    if result["spread"] != 1:
        notes.append(_spread_note(result, record))
    if result.get("path_correlation") is not None:
        notes.append(
            f"Errors of neighbouring steps go together by {result['path_correlation']:.2f} on the validation stretch"
            " (correlation of their normal scores): sample paths are drawn so."
        )
    return notes


def _decoders_note(validation: Mapping[str, Mapping[str, float]], chosen: str) -> str:
    """Both decoders as they did on the validation stretch."""
    shown = [
        f"{name}: " + ", ".join(f"{label} {found[key]:.4g}" for key, label in CHOSEN_BY.items() if key in found)
        for name, found in validation.items()
    ]
    return f"Two decoders were trained, and the validation stretch chose the {chosen} one. {'; '.join(shown)}."


def _spread_note(result: Mapping[str, Any], record: RunRecord) -> str:
    factor, covered = result["spread"], result.get("spread_covered")
    where = "over the whole horizon" if _is_direct(result) else "one step ahead and free-running on average"
    wanted: float = record.settings["evaluation"]["cover"]
    reached = wanted if covered is None else covered  # runs of earlier versions do not say
    missed = abs(reached - wanted) > TOLERATED
    meant = f", the nearest within reach to the {100 * wanted:.0f} % that were wanted" if missed else ""
    return (
        f"The gaps between quantiles were multiplied by {factor:.3f}, the factor at which the 80 % intervals, {where},"
        f" covered {100 * (reached if missed else wanted):.0f} % of the validation stretch{meant}. Neither the weights"
        " nor the factor saw the test."
    )


def _section(record: RunRecord, result: dict[str, Any], frequency: Frequency) -> ForecastSection:
    data, evaluation, split = record.settings["data"], record.settings["evaluation"], result["split"]
    stride = evaluation["stride"] or evaluation["horizon"]
    season = metric_season(frequency)
    told = f"quantiles of {evaluation['paths']} sampled paths"
    if _is_direct(result):
        told = "quantiles of all steps told at once"
    evaluated = (
        f"On the last {split['end'] - split['test']} steps of each series, which training never saw: "
        f"{result['origins']} forecasts per series, {evaluation['horizon']} steps ahead, every {stride} steps, "
        f"{told}, run through the published graphs. MASE is scaled by the "
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
