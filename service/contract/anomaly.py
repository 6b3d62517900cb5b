"""What an observation is told beside its quantiles: an expected value, the interval around it, and whether it is one
that should hardly come.

The service tells it of sessions and `python -m training score` of files; both take it from here.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]

_WANTED = 0.8
"""Of a stream's values, what the interval is meant to hold: calm to look at, and soon checked."""
_TOLERANCE = 1e-9
_DIGITS = 9


class Central(NamedTuple):
    """Which of a model's quantiles tell the expected value and the interval around it.

    Args:
        level: the share of values that is meant to fall between `lower` and `upper`.
    """

    lower: int
    expected: int
    upper: int
    level: float


@cache
def central(levels: tuple[float, ...]) -> Central:
    """The median, and of opposite quantiles the two whose interval is nearest to 80 %; the outermost if none are.

    Args:
        levels: of the model's quantiles, increasing.
    """
    last = len(levels) - 1
    pairs = [(low, high) for low in range(last) for high in range(low + 1, last + 1) if _opposite(levels, low, high)]
    low, high = min(pairs or [(0, last)], key=lambda pair: abs(levels[pair[1]] - levels[pair[0]] - _WANTED))
    median = min(range(last + 1), key=lambda index: abs(levels[index] - 0.5))
    return Central(low, median, high, round(levels[high] - levels[low], _DIGITS))


def _opposite(levels: tuple[float, ...], low: int, high: int) -> bool:
    return abs(levels[low] + levels[high] - 1) < _TOLERANCE


def score_of_pit(pit: Values) -> Values:
    """How far out values fell in what was predicted of them, in [0, 1]: 2·|pit − ½|.

    The anomaly score of models whose graph gives none. Of a calibrated model at most one value in a thousand reaches
    .999; a model that adapts to the stream says it in its graph.
    """
    return np.asarray(np.float32(2) * np.abs(pit - np.float32(0.5)))


def is_anomaly(scores: Values, threshold: float) -> NDArray[np.bool_]:
    """Whether scores of any shape reach a threshold; a score that is NaN does not."""
    # Compared as the numbers that clients read, which a threshold rounded to float32 would not be.
    reached: NDArray[Any] = scores >= np.float64(threshold)
    return reached
