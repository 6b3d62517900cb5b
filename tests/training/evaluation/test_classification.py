"""Accuracy, macro-F1 and nats by hand; a network's probabilities are its own whatever stands beside it in a batch."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tests.training.export.tiny import tiny_classifier  # noqa: E402
from training.data.labelled_streams import Example  # noqa: E402
from training.evaluation.classification import (  # noqa: E402
    accuracy_by_step,
    class_scores,
    classification_metrics,
    confusion,
    label_metrics,
    probabilities_of,
    scored_steps,
)

TRUTH, TOLD = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 0, 0])


def test_scores_of_each_class_are_those_one_gets_by_hand() -> None:
    first, second, third = class_scores(TRUTH, TOLD, ["a", "b", "c"])
    assert (first.label, first.count, first.precision, first.recall) == ("a", 3, 2 / 4, 2 / 3)
    assert math.isclose(first.f1, 2 * 2 / (3 + 4))
    assert (second.precision, second.recall, second.f1) == (0.5, 0.5, 0.5)
    assert (third.precision, third.recall, third.f1) == (0, 0, 0)  # never told
    metrics = label_metrics(TRUTH, TOLD, 3)
    assert metrics == {"accuracy": 0.5, "macro_f1": pytest.approx((4 / 7 + 0.5 + 0) / 3)}


def test_macro_f1_is_that_of_scikit_learn() -> None:
    f1_score = pytest.importorskip("sklearn.metrics").f1_score
    rng = np.random.default_rng(0)
    truth, told = rng.integers(0, 5, 200), rng.integers(0, 5, 200)
    assert math.isclose(label_metrics(truth, told, 5)["macro_f1"], f1_score(truth, told, average="macro"))


def test_the_confusion_counts_rows_of_what_was_right() -> None:
    np.testing.assert_array_equal(confusion(TRUTH, TOLD, 3), [[2, 1, 0], [1, 1, 0], [1, 0, 0]])


def test_nats_are_the_mean_negative_logarithm_of_what_the_right_class_got() -> None:
    probabilities = np.array([[0.5, 0.5], [0.1, 0.9], [1.0, 0.0]])
    metrics = classification_metrics(np.array([0, 1, 1]), probabilities)
    assert math.isclose(metrics["nats"], -(math.log(0.5) + math.log(0.9) + math.log(1e-12)) / 3)
    assert metrics["accuracy"] == 2 / 3


def test_a_sequence_is_told_alike_alone_and_among_longer_ones() -> None:
    network, rng = tiny_classifier(), np.random.default_rng(0)
    examples = [Example(rng.integers(0, 11, length), np.full(length, np.nan, np.float32)) for length in (3, 9, 1, 5)]
    together = probabilities_of(network, examples)
    for example, rows in zip(examples, together, strict=True):
        assert rows.shape == (len(example.tokens), 4)
        np.testing.assert_allclose(rows, probabilities_of(network, [example])[0], atol=1e-6)


def test_only_scored_steps_count() -> None:
    targets = [np.array([np.nan, 2], np.float32), np.array([1, 0], np.float32)]
    examples = [Example(np.zeros(2, np.int64), target) for target in targets]
    truth, told = scored_steps(examples, [np.full((2, 3), index, np.float32) for index in (0.0, 1.0)])
    assert truth.tolist() == [2, 1, 0] and told[:, 0].tolist() == [0, 1, 1]


def test_accuracy_after_so_many_steps_is_of_those_that_have_so_many() -> None:
    right, wrong = [0.1, 0.9], [0.9, 0.1]
    probabilities = [np.array(rows, np.float32) for rows in ([wrong, right, right], [right], [wrong, wrong])]
    assert accuracy_by_step(np.array([1, 1, 1]), probabilities, 5) == [(1, 1 / 3, 3), (2, 0.5, 2), (3, 1.0, 1)]


def test_macro_f1_leaves_out_classes_that_neither_occur_nor_are_told() -> None:
    truth, told = np.array([0, 0, 2]), np.array([0, 3, 2])
    assert label_metrics(truth, told, 9)["macro_f1"] == pytest.approx((2 / 3 + 1 + 0) / 3)
