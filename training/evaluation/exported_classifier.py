"""A published classifier on labelled sequences: the same figures as in training, from the graphs that are served."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from service.contract.manifest import ClassifyTask
from training.classifier_data import require_known
from training.data.labelled import Labelled, LabelledSet
from training.data.labelled_streams import Example, examples_of
from training.evaluation.classification import SEQUENCES_AT_ONCE, classification_metrics, scored_steps
from training.evaluation.classification_baselines import majority
from training.export import ExportedClassifier


def evaluate_classifier(folder: Path, task: ClassifyTask, data: LabelledSet) -> dict[str, dict[str, float]]:
    """Metrics of a published classifier on all sequences, and of always telling the class commonest among them.

    Raises:
        TrainingError: the data have classes that the model does not know, or labels of the other kind.
    """
    require_known(task, data)
    examples = _examples(folder, task, data.sequences)
    truth, told = scored_steps(examples, exported_probabilities(ExportedClassifier(folder), examples))
    return {
        "model": classification_metrics(truth, told),
        "majority": majority(truth, truth, len(task.classes)),
    }


def _examples(folder: Path, task: ClassifyTask, sequences: Sequence[Labelled]) -> list[Example]:
    tokenizer = Tokenizer.from_file(str(folder / task.tokenizer.file))
    return examples_of(sequences, task.classes, tokenizer, task.tokenizer_kind)


def exported_probabilities(graphs: ExportedClassifier, examples: Sequence[Example]) -> list[NDArray[np.float32]]:
    """Probabilities (T, C) after each step of each sequence; what fills up a shorter one comes after its end."""
    found: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(examples)
    by_length = sorted(range(len(examples)), key=lambda index: len(examples[index].tokens))
    for first in range(0, len(examples), SEQUENCES_AT_ONCE):
        members = by_length[first : first + SEQUENCES_AT_ONCE]
        tokens = np.zeros((len(members), len(examples[members[-1]].tokens)), np.int64)
        for row, member in enumerate(members):
            tokens[row, : len(examples[member].tokens)] = examples[member].tokens
        probabilities, _ = graphs.observe(graphs.initial(len(members)), tokens)
        for row, member in enumerate(members):
            found[member] = probabilities[row, : len(examples[member].tokens)]
    return found
