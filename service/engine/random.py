"""Uniform random numbers that depend on nothing but where they are used.

Philox4x32-10, the counter-based generator of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as
1, 2, 3" (SC 2011): a keyed bijection of a 128-bit counter. With the seed as key and (position, sample, prompt, draw)
as counter, a draw is the same alone or in a crowd, on any replica, before or after a restart.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (np.uint64(0x9E3779B9), np.uint64(0xBB67AE85))
_ROUNDS = 10
_LOW = np.uint64(0xFFFFFFFF)
_WORD = np.uint64(32)

Words = NDArray[np.uint32]


def philox4x32(counter: tuple[Words, Words, Words, Words], key: tuple[Words, Words]) -> tuple[Words, ...]:
    """The four output words of Philox4x32-10 for counters and keys of one common shape."""
    # Words in 64 bits throughout: products need them, and every change of width would cost as much as a product.
    x0, x1, x2, x3 = (word.astype(np.uint64) for word in counter)
    k0, k1 = (word.astype(np.uint64) for word in key)
    for _ in range(_ROUNDS):
        product0, product1 = x0 * _MULTIPLIERS[0], x2 * _MULTIPLIERS[1]
        x0, x1 = (product1 >> _WORD) ^ x1 ^ k0, product1 & _LOW
        x2, x3 = (product0 >> _WORD) ^ x3 ^ k1, product0 & _LOW
        k0, k1 = (k0 + _WEYL[0]) & _LOW, (k1 + _WEYL[1]) & _LOW
    return tuple(word.astype(np.uint32) for word in (x0, x1, x2, x3))


def uniforms(
    seed: ArrayLike, position: ArrayLike, *, sample: ArrayLike = 0, prompt: ArrayLike = 0, draw: ArrayLike = 0
) -> NDArray[np.float32]:
    """Uniform float32 numbers strictly inside (0, 1), one for each element of the broadcast arguments.

    Args:
        seed: 64 bits, the key.
        position: of the observation or token that is drawn; below 2^56.
        sample: number of the sample path; below 2^32.
        prompt: number of the prompt in its request; below 2^32.
        draw: number of the draw at this position; below 2^8.
    """
    seeds = np.asarray(seed).astype(np.uint64)  # one for all, mostly: left as it is, so that its rounds cost nothing
    positions, samples, prompts, draws = np.broadcast_arrays(
        *(np.asarray(part).astype(np.uint64) for part in (position, sample, prompt, draw))
    )
    counter = (
        (positions & _LOW).astype(np.uint32),
        samples.astype(np.uint32),
        prompts.astype(np.uint32),
        ((draws << np.uint64(24)) | (positions >> _WORD)).astype(np.uint32),
    )
    key = ((seeds & _LOW).astype(np.uint32), (seeds >> _WORD).astype(np.uint32))
    with np.errstate(over="ignore"):
        bits = philox4x32(counter, key)[0]
    # 23 bits and a half: the largest value, 1 − 2^−24, is still below 1 as a float32; 24 bits would round up to 1.
    return ((bits >> np.uint32(9)).astype(np.float32) + np.float32(0.5)) * np.float32(2**-23)
