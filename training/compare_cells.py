"""The same classifier with every cell and several seeds, so that a card can say how much of a result is the cell's."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from rich.console import Console

from training import distributed
from training.classifier_data import ClassifierDataSettings, Prepared, streams_of
from training.evaluation.classification import classification_metrics, probabilities_of, scored_steps
from training.fit import FitResult, FitSettings, fit
from training.networks.classifier import Classifier, ClassifierSettings, classification_loss
from training.networks.recurrence import Cell

FOLDER = "compare"
FOUND_FILE = "metrics.json"


@dataclass(frozen=True)
class Task:
    """What all networks of a comparison share."""

    prepared: Prepared
    data: ClassifierDataSettings
    device: torch.device


def fit_classifier(
    task: Task, network_settings: ClassifierSettings, settings: FitSettings, folder: Path, *, resume: bool
) -> tuple[Classifier, FitResult]:
    """A network drawn from the seed and fitted to the training part; it keeps the weights that validated best."""
    prepared = task.prepared
    torch.manual_seed(settings.seed)
    network = Classifier(prepared.tokenizer.get_vocab_size(), len(prepared.classes), network_settings).to(task.device)
    streams, validate = streams_of(prepared, task.data, settings), _validation(network, prepared)
    return network, fit(network, classification_loss, streams, validate, settings, folder, resume)


def _validation(network: Classifier, prepared: Prepared) -> Callable[[], float]:
    examples = prepared.validation.examples

    def nats() -> float:
        return classification_metrics(*scored_steps(examples, probabilities_of(network, examples)))["nats"]

    return nats


def measured(network: Classifier, prepared: Prepared) -> dict[str, float]:
    """Metrics of a network on the test part, and how many parameters it has."""
    examples = prepared.test.examples
    metrics = classification_metrics(*scored_steps(examples, probabilities_of(network, examples)))
    return {**metrics, "parameters": float(sum(parameter.numel() for parameter in network.parameters()))}


def compare_cells(
    task: Task, network_settings: ClassifierSettings, settings: FitSettings, seeds: int, run: Path, *, resume: bool
) -> dict[str, dict[str, float]] | None:
    """For each cell the mean and standard deviation of the test metrics over seeds; None where it was interrupted.

    All else stays as it is: hidden size, learning rate, epochs. A resumed comparison leaves out what is done.
    """
    rows: dict[str, dict[str, float]] = {}
    if not seeds:
        return rows
    for cell in get_args(Cell):
        found = []
        for seed in range(settings.seed, settings.seed + seeds):
            folder = run / FOLDER / f"{cell}-{seed}"
            one = _one(task, replace(network_settings, cell=cell), replace(settings, seed=seed), folder, resume)
            if one is None:
                return None
            found.append(one)
        rows[f"{cell}_mean_of_{seeds}_seeds"] = _mean_and_deviation(found)
    return rows


def _one(
    task: Task, network_settings: ClassifierSettings, settings: FitSettings, folder: Path, resume: bool
) -> dict[str, float] | None:
    file = folder / FOUND_FILE
    if resume and file.exists():
        kept: dict[str, float] = json.loads(file.read_text("utf-8"))["metrics"]
        return kept
    if distributed.rank() == 0:
        Console(stderr=True).print(f"{network_settings.cell}, seed {settings.seed}", highlight=False)
    network, result = fit_classifier(task, network_settings, settings, folder, resume=resume)
    if result.interrupted:
        return None
    metrics = measured(network, task.prepared)
    if distributed.rank() == 0:
        content = {"network": asdict(network_settings), "fit": asdict(settings), "metrics": metrics}
        file.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    return metrics


def _mean_and_deviation(found: list[dict[str, float]]) -> dict[str, float]:
    """Means by name, and after each the standard deviation over the seeds (of the sample, so from two on)."""
    row = {}
    for name in found[0]:
        values = np.array([one[name] for one in found])
        row[name] = float(values.mean())
        if len(found) > 1 and name != "parameters":
            row[f"{name}_deviation"] = float(values.std(ddof=1))
    return row
