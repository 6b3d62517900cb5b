"""From the run folder of a classifier to its next published version: export, parity, card, one rename."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from service.contract.manifest import ClassifyTask, FileReference, sha256_of
from training.checkpoint import load_checkpoint
from training.class_section import ClassSection
from training.data.tokenizers import TOKENIZER_FILE, unknown_token
from training.evaluation.classification import ClassScore
from training.export import classifier_parity, export_classifier, publish
from training.networks.classifier import Classifier, ClassifierSettings
from training.report import Card, write_card
from training.run_card import epoch_losses, run_card
from training.run_record import RunRecord, load_record, load_result


def publish_classifier(run: Path, models: Path, name: str) -> Path:
    """Publish the best network of a finished run as the next version of `models/<name>`, and return that folder.

    Raises:
        TrainingError: the run is not finished.
        ParityError: the graphs do not compute what the network does.
    """
    record, result = load_record(run), load_result(run)
    tokenizer = Tokenizer.from_file(str(run / TOKENIZER_FILE))
    classes = tuple(score["label"] for score in result["scores"])
    network = load_classifier(run, record, tokenizer, len(classes))
    card = _card(run, record, result, name)
    with tempfile.TemporaryDirectory() as folder:
        verified = classifier_parity(network, export_classifier(network, Path(folder)))
        shutil.copyfile(run / TOKENIZER_FILE, Path(folder) / TOKENIZER_FILE)
        write_card(Path(folder), card, _section(record, result))
        return publish(
            verified,
            models,
            name=name,
            description=card.description,
            license=card.license,
            classify=ClassifyTask(
                tokenizer=FileReference(file=TOKENIZER_FILE, sha256=sha256_of(run / TOKENIZER_FILE)),
                tokenizer_kind=record.settings["data"]["tokenizer"],
                vocabulary_size=tokenizer.get_vocab_size(),
                unknown_token=unknown_token(tokenizer),
                classes=classes,
                labelled="sequence" if "accuracy_by_step" in result else "step",
            ),
            training=record.provenance(result, verified.max_abs_error),
        )


def load_classifier(run: Path, record: RunRecord, tokenizer: Tokenizer, classes: int) -> Classifier:
    """The network of a run with the weights that validated best."""
    network = Classifier(tokenizer.get_vocab_size(), classes, ClassifierSettings(**record.settings["network"]))
    network.load_state_dict(load_checkpoint(run)["state"]["best_weights"])
    return network.eval()


def _card(run: Path, record: RunRecord, result: dict[str, Any], name: str) -> Card:
    network = record.settings["network"]
    general = f"Tells the {len(result['scores'])} classes of {record.data_name} apart: {network['cell']}."
    return run_card(
        record,
        name,
        general,
        metrics=result["metrics"],
        baselines=result["baselines"],
        loss=epoch_losses(run, "nats per label"),
    )


def _section(record: RunRecord, result: dict[str, Any]) -> ClassSection:
    data, (training, validation, test) = record.settings["data"], result["sizes"]
    whole, repeats = "accuracy_by_step" in result, result["repeats_left_out"]
    what = "the class told after its last token" if whole else "the class of every token"
    evaluated = (
        f"On {test:,} sequences held out, {data['held_out']:.0%} of each class: {what}. {training:,} were trained on, "
        f"{validation:,} chose the epoch. A text that bears several classes lies on one side of the split with all of "
        "them, so that no test text was seen in training."
    )
    if repeats:
        evaluated += f" {repeats:,} lines of the data only repeat others and are left out."
    if whole:
        evaluated += (
            " The n-gram regression sees a text whole and counts its pieces of 1 to 4 characters; the networks read it "
            "once, a character at a time."
        )
    if record.settings["compare"]["seeds"]:
        evaluated += (
            " The means are over trainings with the same hidden size, settings and data; ± is the standard deviation "
            "over the seeds, the first of which is this model's."
        )
    return ClassSection(
        evaluated,
        [ClassScore(**score) for score in result["scores"]],
        result["confusion"],
        [tuple(entry) for entry in result.get("accuracy_by_step", [])],
    )
