"""Entries for tests, and what every journal is asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.journal import NOWHERE, Entry, clock
from service.journal.codec import Records


@dataclass(frozen=True, slots=True)
class Remembered:
    """A record such as a session has."""

    model: str = "running-sum/1"
    started: np.datetime64 | None = None
    outputs: dict[str, NDArray[Any]] = field(default_factory=dict)


RECORDS: Records[Remembered] = Records(Remembered)
EPOCH = 7


def opening(session_id: str, row: bytes = b"row 0", epoch: int = EPOCH, lives_s: float = 3600.0) -> Entry:
    return Entry(session_id, 0, row, Remembered(), epoch, NOWHERE, clock.now() + lives_s)


def step(
    session_id: str, position: int, row: bytes | None = None, epoch: int = EPOCH, lives_s: float = 3600.0
) -> Entry:
    """One step from the position before."""
    content = f"row {position}".encode() if row is None else row
    return Entry(session_id, position, content, Remembered(), epoch, position - 1, clock.now() + lives_s)
