"""Baselines for classifiers: the commonest class, and logistic regression on bags of character n-grams."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from training.evaluation.classification import classification_metrics, label_metrics

LONGEST_NGRAM = 4
STRENGTHS = (3.0, 10.0, 30.0)
"""Of the fit against its regularisation (scikit-learn's C): the one with the lowest validation loss is taken."""


def majority(train: NDArray[np.int64], test: NDArray[np.int64], classes: int) -> dict[str, float]:
    """What always telling the class that is commonest in training comes to."""
    commonest = np.bincount(train, minlength=classes).argmax()
    return label_metrics(test, np.full(len(test), commonest), classes)


def ngram_regression(
    texts: Sequence[Sequence[str]], labels: Sequence[NDArray[np.int64]], classes: int
) -> dict[str, float]:
    """Multinomial logistic regression on counts of the 1- to 4-grams of characters, weighted by tf–idf.

    Begin and end of a text count as characters. It sees each text whole, which a network that reads it once, one
    character after another, does not.

    Args:
        texts: of training, validation and test.
        labels: the class numbers (N,) of each of the three.
    """
    bags = TfidfVectorizer(
        analyzer="char", ngram_range=(1, LONGEST_NGRAM), sublinear_tf=True, min_df=2, lowercase=False
    )
    train, *others = ([f"^{text}$" for text in part] for part in texts)
    counted = bags.fit_transform(train)
    validation, test = (bags.transform(part) for part in others)
    fits = [LogisticRegression(C=strength, max_iter=300, tol=1e-3).fit(counted, labels[0]) for strength in STRENGTHS]

    def metrics(model: LogisticRegression, features: object, truth: NDArray[np.int64]) -> dict[str, float]:
        held = np.zeros((len(truth), classes))
        held[:, model.classes_] = model.predict_proba(features)
        return classification_metrics(truth, held)

    best = min(fits, key=lambda model: metrics(model, validation, labels[1])["nats"])
    return metrics(best, test, labels[2])
