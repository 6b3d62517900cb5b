"""The controls against their definitions, written out token by token."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.tasks.requests import GenerateRequest
from service.tasks.sampling import draw, largest, log_probabilities, nucleus, probabilities, typical, weights

PLAIN = GenerateRequest(1)
LOGITS = st.lists(st.floats(-8, 8, width=32), min_size=2, max_size=40)


def softmax(scores: Sequence[float]) -> list[float]:
    powers = [math.exp(score - max(scores)) for score in scores]
    return [power / sum(powers) for power in powers]


def found(logits: Sequence[float], request: GenerateRequest, history: Sequence[int] = ()) -> list[float]:
    """The weights as shares of their sum."""
    chosen = weights(np.array(logits, np.float32), request, history)
    shares: list[float] = (chosen / chosen.sum()).tolist()
    return shares


def only(shares: Sequence[float], kept: set[int]) -> list[float]:
    """The shares of the tokens that are kept."""
    total = sum(shares[token] for token in kept)
    return [share / total if token in kept else 0.0 for token, share in enumerate(shares)]


def exact(logits: Sequence[float]) -> list[float]:
    return [float(np.float32(logit)) for logit in logits]


@given(LOGITS, st.floats(0.05, 2))
def test_temperature_divides_the_logits(logits: list[float], temperature: float) -> None:
    expected = softmax([logit / temperature for logit in exact(logits)])
    np.testing.assert_allclose(found(logits, replace(PLAIN, temperature=temperature)), expected, rtol=1e-9, atol=1e-15)


@given(st.lists(st.integers(-50, 50), min_size=2, max_size=40, unique=True))
def test_temperature_zero_takes_the_likeliest(logits: list[int]) -> None:
    shares = found([logit / 10 for logit in logits], replace(PLAIN, temperature=0))
    assert shares[logits.index(max(logits))] == 1


@given(LOGITS, st.integers(1, 50))
def test_top_k_keeps_the_k_likeliest_and_what_is_as_likely_as_the_last(logits: list[float], k: int) -> None:
    ranked = sorted(exact(logits), reverse=True)
    kept = {token for token, logit in enumerate(exact(logits)) if logit >= ranked[min(k, len(ranked)) - 1]}
    expected = only(softmax(exact(logits)), kept)
    np.testing.assert_allclose(found(logits, replace(PLAIN, top_k=k)), expected, rtol=1e-9)


@given(LOGITS, st.floats(0.01, 0.99))
def test_top_p_keeps_the_fewest_likeliest_whose_mass_reaches_p(logits: list[float], top_p: float) -> None:
    shares = softmax(exact(logits))
    mass, least = 0.0, 1.0
    for share in sorted(shares, reverse=True):
        if mass >= top_p - 1e-12:
            break
        mass, least = mass + share, share
    kept = {token for token, share in enumerate(shares) if share >= least}
    chosen = nucleus(np.array(shares), top_p)
    assert {int(token) for token in np.flatnonzero(chosen)} == kept or abs(mass - top_p) < 1e-9


@given(LOGITS, st.floats(0, 1))
def test_min_p_keeps_what_is_not_much_less_likely_than_the_likeliest(logits: list[float], min_p: float) -> None:
    shares = softmax(exact(logits))
    kept = {token for token, share in enumerate(shares) if share >= min_p * max(shares) * (1 - 1e-12)}
    result = found(logits, replace(PLAIN, min_p=min_p))
    edge = {token for token, share in enumerate(shares) if abs(share - min_p * max(shares)) < 1e-9}
    assert {token for token, share in enumerate(result) if share} | edge == kept | edge


@given(LOGITS, st.floats(0.01, 0.99))
def test_typical_keeps_the_tokens_of_most_usual_information_up_to_a_mass(logits: list[float], mass: float) -> None:
    shares = softmax(exact(logits))
    entropy = -sum(share * math.log(share) for share in shares)
    unusual = [abs(-math.log(share) - entropy) for share in shares]
    order = sorted(range(len(shares)), key=unusual.__getitem__)
    sums = np.cumsum([shares[token] for token in order])
    furthest = unusual[order[int(np.sum(sums < mass))]]
    kept = {token for token in order if unusual[token] <= furthest + 1e-9}
    chosen = {int(token) for token in np.flatnonzero(typical(np.array(shares), mass))}
    at_the_edge = bool(np.any(np.abs(sums - mass) < 1e-9))
    alike = all(abs(unusual[token] - furthest) < 1e-9 for token in chosen ^ kept)  # as far but for rounding
    assert alike or at_the_edge


@given(LOGITS, st.data())
def test_filters_follow_one_another_each_over_what_the_one_before_left(
    logits: list[float], data: st.DataObject
) -> None:
    k, p = data.draw(st.integers(1, len(logits))), data.draw(st.floats(0.1, 0.9))
    after_k = weights(np.array(logits, np.float32), replace(PLAIN, top_k=k), [])
    both = weights(np.array(logits, np.float32), replace(PLAIN, top_k=k, top_p=p), [])
    expected = nucleus(after_k, p)
    np.testing.assert_allclose(both, expected / expected.sum(), rtol=1e-12)


@given(
    LOGITS,
    st.data(),
    st.floats(0.1, 5),
    st.floats(-2, 2),
    st.floats(-2, 2),
    st.integers(1, 64),
)
def test_penalties_are_those_of_their_definitions_over_the_window(
    logits: list[float], data: st.DataObject, repetition: float, presence: float, frequency: float, window: int
) -> None:
    history = data.draw(st.lists(st.integers(0, len(logits) - 1), max_size=100))
    scores = exact(logits)
    for token in range(len(scores)):
        count = history[-window:].count(token)
        if count:
            scores[token] = scores[token] / repetition if scores[token] > 0 else scores[token] * repetition
            scores[token] -= count * frequency + presence
    request = replace(
        PLAIN,
        repetition_penalty=repetition,
        presence_penalty=presence,
        frequency_penalty=frequency,
        penalty_window=window,
    )
    np.testing.assert_allclose(found(logits, request, history), softmax(scores), rtol=1e-6, atol=1e-12)


@given(LOGITS, st.data())
def test_a_bias_is_added_to_the_logits(logits: list[float], data: st.DataObject) -> None:
    biases = data.draw(st.dictionaries(st.integers(0, len(logits) - 1), st.floats(-100, 100), max_size=5))
    scores = [logit + biases.get(token, 0) for token, logit in enumerate(exact(logits))]
    shares = found(logits, replace(PLAIN, logit_bias=tuple(biases.items())))
    np.testing.assert_allclose(shares, softmax(scores), rtol=1e-6, atol=1e-12)


@given(LOGITS, st.data())
def test_what_is_not_allowed_never_comes(logits: list[float], data: st.DataObject) -> None:
    allowed = data.draw(st.sets(st.integers(0, len(logits) - 1), min_size=1))
    mask = np.isin(np.arange(len(logits)), sorted(allowed))
    chosen = weights(np.array(logits, np.float32), PLAIN, [], mask)
    np.testing.assert_allclose(chosen, only(softmax(exact(logits)), allowed), rtol=1e-6, atol=1e-15)


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=50).filter(any), st.floats(2**-24, 1 - 2**-24))
def test_a_draw_is_the_inverse_of_the_cumulative_distribution(shares: list[float], uniform: float) -> None:
    token = draw(np.array(shares, np.float64), uniform)
    sums = np.cumsum(np.array(shares, np.float64))
    assert shares[token] > 0 and sums[token] > uniform * sums[-1]
    assert token == 0 or sums[token - 1] <= uniform * sums[-1]


def test_draws_come_as_often_as_they_are_likely() -> None:
    shares = np.array([0.1, 0.0, 0.6, 0.3])
    draws = [draw(shares, (index + 0.5) / 10_000) for index in range(10_000)]
    assert np.bincount(draws, minlength=4).tolist() == [1000, 0, 6000, 3000]


def test_log_probabilities_are_those_of_the_softmax() -> None:
    logits = np.random.default_rng(0).normal(size=(3, 7)).astype(np.float32) * 30
    logs = log_probabilities(logits)
    for row, told in zip(logits, logs, strict=True):
        np.testing.assert_allclose(told, np.log(probabilities(row.astype(np.float64))), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("control", [{"top_k": 1}, {"min_p": 1.0}, {"top_p": 1e-9}, {"temperature": 0}])
def test_the_narrowest_control_leaves_the_likeliest(control: dict[str, float]) -> None:
    assert found([0.1, 2.0, -1.0], replace(PLAIN, **control)) == [0, 1, 0]  # type: ignore[arg-type]


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=60, unique=True), st.integers(0, 70))
def test_the_largest_values_are_found_in_their_order(values: list[int], count: int) -> None:
    array = np.array([values, values[::-1]], np.float64)
    found = largest(array, count)
    expected = np.sort(array, axis=1)[:, ::-1][:, :count]
    assert np.take_along_axis(array, found, 1).tolist() == expected.tolist()
