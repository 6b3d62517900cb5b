"""Triton's classification extension: the likeliest classes by name, in the place of an output of probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def likeliest(probabilities: NDArray[np.float32], count: int, classes: Sequence[str]) -> NDArray[Any]:
    """The `count` likeliest classes after each step, likeliest first: texts (B, T, count), `probability:index:name`.

    Triton's own answer has no time axis; here every step of (B, T, C) is told, as everywhere in V2.
    """
    ranked = np.argsort(-probabilities, axis=-1, kind="stable")[..., :count]  # (B, T, count)
    held = np.take_along_axis(probabilities, ranked, axis=-1)
    told = np.empty(ranked.shape, object)
    for place, index in np.ndenumerate(ranked):
        told[place] = f"{held[place]:.6f}:{index}:{classes[int(index)]}"
    return told
