"""How well a classifier does: accuracy, macro-averaged F1, nats, by class and by how much it has read.

Shapes: N sequences, T steps of each, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from training.data.labelled_streams import Example
from training.networks.classifier import Classifier

Numbers = NDArray[np.int64]
SEQUENCES_AT_ONCE = 256
LEAST_PROBABILITY = 1e-12


@dataclass(frozen=True)
class ClassScore:
    """One class: how many there were, and how well they were told from the others."""

    label: str
    count: int
    precision: float
    recall: float
    f1: float


@torch.no_grad()
def probabilities_of(network: Classifier, examples: Sequence[Example]) -> list[NDArray[np.float32]]:
    """Probabilities (T, C) after each step of each sequence, each from a state that has seen nothing."""
    network.eval()
    device = next(network.parameters()).device
    found: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(examples)
    by_length = sorted(range(len(examples)), key=lambda index: len(examples[index].tokens))
    for first in range(0, len(examples), SEQUENCES_AT_ONCE):
        members = by_length[first : first + SEQUENCES_AT_ONCE]
        tokens = torch.zeros(len(members), len(examples[members[-1]].tokens), dtype=torch.int64)
        for row, member in enumerate(members):
            tokens[row, : len(examples[member].tokens)] = torch.from_numpy(examples[member].tokens)
        logits, _ = network(tokens.to(device), network.recurrence.initial_state(len(members)))
        probabilities = torch.softmax(logits.float(), -1).cpu().numpy()
        for row, member in enumerate(members):
            found[member] = probabilities[row, : len(examples[member].tokens)]
    return found


def scored_steps(
    examples: Sequence[Example], probabilities: Sequence[NDArray[np.float32]]
) -> tuple[Numbers, NDArray[np.float32]]:
    """Class numbers (N,) of all scored steps of all sequences, and the probabilities (N, C) after them."""
    scored = [~np.isnan(example.targets) for example in examples]
    truth = np.concatenate([example.targets[steps] for example, steps in zip(examples, scored, strict=True)])
    told = np.concatenate([rows[steps] for rows, steps in zip(probabilities, scored, strict=True)])
    return truth.astype(np.int64), told


def classification_metrics(truth: Numbers, probabilities: NDArray[np.floating]) -> dict[str, float]:
    """Accuracy, macro-F1 and nats of probabilities (N, C) for the classes (N,) that were right."""
    held = np.maximum(probabilities[np.arange(len(truth)), truth].astype(np.float64), LEAST_PROBABILITY)
    return {
        **label_metrics(truth, probabilities.argmax(-1), probabilities.shape[1]),
        "nats": float(-np.log(held).mean()),
    }


def label_metrics(truth: Numbers, told: Numbers, classes: int) -> dict[str, float]:
    """Share of labels (N,) that were right, and the mean over classes of the harmonic mean of precision and recall.

    Classes that neither occur nor are told have none, and are left out of the mean.
    """
    scores = class_scores(truth, told, [""] * classes)
    return {
        "accuracy": float((truth == told).mean()),
        "macro_f1": float(np.mean([scores[number].f1 for number in np.union1d(truth, told)])),
    }


def confusion(truth: Numbers, told: Numbers, classes: int) -> Numbers:
    """Counts (C, C) of what was told for each class, a row per class that was right."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (truth, told), 1)
    return counts


def class_scores(truth: Numbers, told: Numbers, labels: Sequence[str]) -> list[ClassScore]:
    """Precision, recall and F1 of each class; 0 where nothing was there or told to divide by."""
    counts = confusion(truth, told, len(labels))
    scores = []
    for number, label in enumerate(labels):
        hits, there, said = int(counts[number, number]), int(counts[number].sum()), int(counts[:, number].sum())
        f1 = 2 * hits / (there + said) if there + said else 0.0
        scores.append(ClassScore(label, there, hits / said if said else 0.0, hits / there if there else 0.0, f1))
    return scores


def accuracy_by_step(
    truth: Numbers, probabilities: Sequence[NDArray[np.float32]], longest: int
) -> list[tuple[int, float, int]]:
    """After 1, 2, … `longest` steps: the share of right labels, and how many sequences have so many steps.

    Args:
        truth: (N,) the class of each whole sequence.
        probabilities: (T, C) of each.
    """
    found = []
    for steps in range(1, longest + 1):
        right = [
            rows[steps - 1].argmax() == label
            for label, rows in zip(truth, probabilities, strict=True)
            if len(rows) >= steps
        ]
        if right:
            found.append((steps, float(np.mean(right)), len(right)))
    return found
