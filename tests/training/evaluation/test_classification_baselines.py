"""The commonest class, and n-grams that tell what a last letter decides."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")

from training.evaluation.classification_baselines import majority, ngram_regression


def test_the_majority_is_that_of_training() -> None:
    metrics = majority(np.array([0, 1, 1]), np.array([0, 0, 1, 1, 1]), 3)
    assert metrics == {"accuracy": 0.6, "macro_f1": pytest.approx(0.75 / 2)}


def test_ngrams_tell_texts_apart_by_their_endings() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 240)
    texts = ["".join(rng.choice(list("abcd"), 5)) + ("ski" if label else "ova") for label in labels]
    parts = slice(0, 160), slice(160, 200), slice(200, 240)
    metrics = ngram_regression([texts[part] for part in parts], [labels[part] for part in parts], 3)
    assert metrics["accuracy"] == 1.0 and metrics["nats"] < 0.1
    assert metrics["macro_f1"] == 1.0  # the third class neither comes nor is told
