from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from service.contract.normal import normal_probability, normal_score

PROBABILITIES = [1e-10, 2.0**-24, 1e-4, 0.01, 0.074999, 0.075001, 0.3, 0.5, 0.9, 0.925001, 0.999, 1 - 2.0**-24]


def test_scores_are_those_of_the_standard_library_to_seven_digits() -> None:
    expected = [NormalDist().inv_cdf(probability) for probability in PROBABILITIES]
    assert normal_score(PROBABILITIES) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_probabilities_are_those_of_the_standard_library_far_into_the_tails() -> None:
    scores = np.linspace(-6.9, 6.9, 139)
    expected = [NormalDist().cdf(score) for score in scores]
    assert normal_probability(scores) == pytest.approx(expected, rel=1e-9)


def test_the_middle_is_exact() -> None:
    assert normal_score(0.5) == 0 and normal_probability(0.0) == pytest.approx(0.5, abs=1e-15)


def test_probabilities_and_scores_are_inverse_to_each_other() -> None:
    assert normal_probability(normal_score(PROBABILITIES)) == pytest.approx(PROBABILITIES, rel=1e-5)


def test_scores_without_end_keep_probabilities_above_nothing() -> None:
    assert 0 < normal_probability(-1e300) < 1e-11 and normal_probability(1e300) <= 1
