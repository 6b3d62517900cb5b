"""The standard normal distribution on arrays: probabilities from scores and back, without a package for it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

_CENTRAL = 0.425
_FURTHEST = 7.0
"""Scores further out than this are taken for this: so far, the fractions below hold to fifteen digits."""

# Rational approximations, highest power first.
_INSIDE = (
    (59.109374720, 159.29113202, 50.434271938, 3.3871327179),
    (67.187563600, 78.757757664, 17.895169469, 1.0),
)
_OUTSIDE = ((0.17023821103, 1.3067284816, 2.7568153900, 1.4234372777), (0.12021132975, 0.73700164250, 1.0))
_TAIL = (
    (
        3.52624965998911e-2,
        0.700383064443688,
        6.37396220353165,
        33.912866078383,
        112.079291497871,
        221.213596169931,
        220.206867912376,
    ),
    (
        8.83883476483184e-2,
        1.75566716318264,
        16.064177579207,
        86.7807322029461,
        296.564248779674,
        637.333633378831,
        793.826512519948,
        440.413735824752,
    ),
)


def normal_score(probability: ArrayLike) -> Array:
    """The value below which a standard normal variable lies with this probability, from 1e-10 to 1 − 1e-10.

    Algorithm AS 241 of Wichura, "The percentage points of the normal distribution" (Applied Statistics 37(3), 1988),
    in its version of seven digits.
    """
    p = np.asarray(probability, np.float64)
    q = p - 0.5
    inside = q * _fraction(_INSIDE, _CENTRAL**2 - np.minimum(np.abs(q), _CENTRAL) ** 2)
    outside = _fraction(_OUTSIDE, np.sqrt(-np.log(np.minimum(p, 1 - p))) - 1.6)
    return np.where(np.abs(q) <= _CENTRAL, inside, np.copysign(outside, q))


def normal_probability(score: ArrayLike) -> Array:
    """How likely a standard normal variable lies below this value.

    After Hart, "Computer Approximations" (1968), as given by West, "Better approximations to cumulative normal
    functions" (Wilmott Magazine, 2005).
    """
    z = np.asarray(score, np.float64)
    far = np.minimum(np.abs(z), _FURTHEST)
    tail = np.exp(-far * far / 2) * _fraction(_TAIL, far)
    return np.where(z > 0, 1 - tail, tail)


def _fraction(polynomials: tuple[tuple[float, ...], tuple[float, ...]], x: Array) -> Array:
    numerator, denominator = (np.polyval(np.array(powers), x) for powers in polynomials)
    return np.asarray(numerator / denominator)
