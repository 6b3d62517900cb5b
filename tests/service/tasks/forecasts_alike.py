"""Whether two forecasts say the same, to the bit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from service.tasks.distributions import Distribution


def alike(one: Distribution, other: Distribution) -> bool:
    """Whether all that is told is the same in every bit."""
    return list(_parts(one)) == list(_parts(other))


def _parts(told: Any) -> Iterator[object]:
    if isinstance(told, Distribution):
        for field in fields(told):
            yield field.name
            yield from _parts(getattr(told, field.name))
    elif isinstance(told, Mapping):
        for key, value in told.items():
            yield key
            yield from _parts(value)
    elif isinstance(told, tuple):
        for value in told:
            yield from _parts(value)
    elif isinstance(told, np.ndarray | np.generic):
        yield told.shape, told.tobytes()
    else:
        yield told
