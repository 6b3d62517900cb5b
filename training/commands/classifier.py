"""`python -m training classifier`: from labelled sequences to a trained classifier, and on to a published model."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from training import distributed
from training.classifier_data import ClassifierDataSettings, Prepared, prepare
from training.compare_cells import Task, compare_cells, fit_classifier, measured
from training.data.labelled import load_labelled
from training.evaluation.classification import (
    accuracy_by_step,
    class_scores,
    confusion,
    probabilities_of,
    scored_steps,
)
from training.evaluation.classification_baselines import majority, ngram_regression
from training.fit import FitSettings
from training.model_name import model_name
from training.networks.classifier import Classifier, ClassifierSettings
from training.options import settings_as_options
from training.publish_classifier import publish_classifier
from training.run_record import begin_run, record_command, save_result
from training.stopped import stopped


@settings_as_options
def classifier(
    data: Annotated[Path, typer.Option(help="a folder of <class>.txt files, or a .csv, .tsv or .jsonl file")],
    data_settings: ClassifierDataSettings,
    network_settings: ClassifierSettings,
    fit_settings: FitSettings,
    compare_seeds: Annotated[int, typer.Option(help="also train every cell with so many seeds, for the card")] = 0,
    run_folder: Annotated[Path | None, typer.Option(help="for checkpoint and results; runs/<name> otherwise")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="continue the run in the run folder")] = False,
    publish: Annotated[bool, typer.Option(help="publish the model at the end; `export` does it later")] = True,
    models: Annotated[Path, typer.Option(help="model repository to publish into")] = Path("models"),
    name: Annotated[str | None, typer.Option(help="model name; the data's name otherwise")] = None,
    description: Annotated[str | None, typer.Option(help="one sentence for the model card")] = None,
    license: Annotated[str, typer.Option(help="of the model, which follows from that of its data")] = "not stated",
) -> None:
    """Train a classifier of labelled sequences, measure it on a share of each class, publish it."""
    name = model_name(name, data)
    run = run_folder or Path("runs") / name
    source = load_labelled(data)
    record = record_command(
        "classify",
        source.name,
        source.sha256,
        fit_settings.seed,
        settings={
            "data": asdict(data_settings),
            "network": asdict(network_settings),
            "fit": asdict(fit_settings),
            "compare": {"seeds": compare_seeds},
            "card": {"name": name, "description": description, "license": license},
        },
    )
    with distributed.process_group():
        first = distributed.rank() == 0
        if first:
            if source.note:
                Console(stderr=True).print(source.note, highlight=False, soft_wrap=True)
            begin_run(run, record, resume=resume)
        prepared = prepare(source, data_settings, fit_settings.seed, run, resume=resume)
        task = Task(prepared, data_settings, distributed.local_device(device))
        network, result = fit_classifier(task, network_settings, fit_settings, run, resume=resume)
        compared = None
        if not result.interrupted:
            compared = compare_cells(task, network_settings, fit_settings, compare_seeds, run, resume=resume)
        if compared is None:
            raise stopped(run)
        if not first:
            return

    found = findings(network.cpu(), prepared, compared) | {"repeats_left_out": source.repeats}
    save_result(run, found)
    Console().print_json(data={name: found[name] for name in ("metrics", "baselines")})
    if publish:
        Console().print(f"published {publish_classifier(run, models, name)}", highlight=False, soft_wrap=True)


def findings(network: Classifier, prepared: Prepared, compared: dict[str, dict[str, float]]) -> dict[str, Any]:
    """What the test part says of the network, beside the baselines: what the card and the manifest tell."""
    classes, test = prepared.classes, prepared.test
    probabilities = probabilities_of(network, test.examples)
    truth, told = scored_steps(test.examples, probabilities)
    found: dict[str, Any] = {
        "metrics": measured(network, prepared),
        "baselines": {**compared, **_baselines(prepared)},
        "scores": [asdict(score) for score in class_scores(truth, told.argmax(-1), classes)],
        "confusion": confusion(truth, told.argmax(-1), len(classes)).tolist(),
        "sizes": [len(part.sequences) for part in (prepared.training, prepared.validation, test)],
    }
    if not prepared.per_step:
        longest = int(np.quantile([len(rows) for rows in probabilities], 0.98))
        found["accuracy_by_step"] = accuracy_by_step(truth, probabilities, longest)
    return found


def _baselines(prepared: Prepared) -> dict[str, dict[str, float]]:
    parts, count = (prepared.training, prepared.validation, prepared.test), len(prepared.classes)
    # Training may score every step, and then every label comes as often as its sequence is long.
    labels = [
        _labels_of_sequences(part.sequences, prepared) if not prepared.per_step else part.labels for part in parts
    ]
    rows = {"majority_class": majority(labels[0], labels[2], count)}
    if not prepared.per_step:
        lowercase = prepared.tokenizer.normalizer is not None
        texts = [[text.lower() if lowercase else text for text in part.texts] for part in parts]
        rows["character_ngram_regression"] = ngram_regression(texts, labels, count)
    return rows


def _labels_of_sequences(sequences: Any, prepared: Prepared) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    numbers = {name: number for number, name in enumerate(prepared.classes)}
    return np.array([numbers[sequence.labels[0]] for sequence in sequences], np.int64)
