from __future__ import annotations

import numpy as np
import pytest

from service.engine.random import philox4x32, uniforms

# Known answers of the generator's authors (Random123, kat_vectors, philox4x32 with 10 rounds).
KNOWN_ANSWERS = [
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN_ANSWERS)
def test_philox_gives_the_published_words(counter: list[int], key: list[int], words: list[int]) -> None:
    c0, c1, c2, c3 = (np.array([word], np.uint32) for word in counter)
    k0, k1 = (np.array([word], np.uint32) for word in key)
    with np.errstate(over="ignore"):
        assert [int(word[0]) for word in philox4x32((c0, c1, c2, c3), (k0, k1))] == words


def test_a_draw_does_not_depend_on_what_is_drawn_beside_it() -> None:
    together = uniforms(7, np.arange(1, 101), sample=np.arange(5)[:, np.newaxis])
    for sample in range(5):
        for position in (1, 50, 100):
            assert together[sample, position - 1] == uniforms(7, position, sample=sample)


def test_seed_position_sample_prompt_and_draw_each_change_the_draw() -> None:
    base = uniforms(1, 1)
    others = [
        uniforms(2, 1),
        uniforms(1, 2),
        uniforms(1, 1, sample=1),
        uniforms(1, 1, prompt=1),
        uniforms(1, 1, draw=1),
    ]
    others += [uniforms(1 + 2**32, 1), uniforms(1, 1 + 2**32)]
    assert len({float(value) for value in [base, *others]}) == 8


def test_draws_lie_strictly_inside_zero_and_one_and_are_uniform() -> None:
    draws = uniforms(3, np.arange(200_000))
    assert draws.dtype == np.float32
    assert 0 < draws.min() and draws.max() < 1
    counts, _ = np.histogram(draws, bins=100, range=(0, 1))
    # χ² with 99 degrees of freedom: its 99.99 % quantile is 161.
    assert ((counts - 2000) ** 2 / 2000).sum() < 161


def test_the_largest_word_still_gives_less_than_one() -> None:
    largest = (np.float32(2**23 - 1) + np.float32(0.5)) * np.float32(2**-23)
    assert largest < np.float32(1)
