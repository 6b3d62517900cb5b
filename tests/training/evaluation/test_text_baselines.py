"""Baselines are proper distributions and better the more they see."""

from __future__ import annotations

import math

import pytest

pytest.importorskip("torch")

from training.evaluation.text_baselines import WittenBell, text_baselines

RHYME = "three four, knock at the door\n" * 40


@pytest.mark.parametrize("before", ["", "t", "the d", "never seen", "zz"])
def test_probabilities_of_all_characters_sum_to_one(before: str) -> None:
    known = sorted(set(RHYME))
    model = WittenBell(RHYME, 4, len(known) + 1)
    total = sum(model.probability(c, before) for c in [*known, "Z"])
    assert total == pytest.approx(1.0)


def test_counts_are_as_by_hand() -> None:
    # After "a": twice "b", once "c"; two kinds. Unigram: a 3, b 2, c 1 of 6; three kinds; uniform over 4 classes.
    model = WittenBell("abacab", 1, 4)
    b = (2 + 3 / 4) / (6 + 3)
    assert model.probability("b", "") == pytest.approx(b)
    assert model.probability("b", "a") == pytest.approx((2 + 2 * b) / (3 + 2))


def test_more_context_is_better_on_text_alike_and_uniform_is_the_logarithm_of_the_classes() -> None:
    found = text_baselines(RHYME, RHYME[:60])
    uniform, unigram, five_gram = (found[name]["nats_per_character"] for name in ("uniform", "unigram", "five_gram"))
    assert uniform == pytest.approx(math.log(len(set(RHYME)) + 1)) and uniform > unigram > 3 * five_gram
    assert found["unigram"]["bits_per_character"] == pytest.approx(unigram / math.log(2))
