"""Preallocated state rows and who may use which: the working set of one engine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]


class StateTable:
    """`capacity` rows of `width` float32 values, handed out by slot number.

    The memory is taken from the system as rows are first written, so a large capacity costs nothing by itself.
    """

    def __init__(self, width: int, capacity: int) -> None:
        self._rows: Rows = np.zeros((capacity, width), np.float32)
        self._released: list[int] = []
        self._untouched = 0

    @property
    def capacity(self) -> int:
        return len(self._rows)

    @property
    def in_use(self) -> int:
        return self._untouched - len(self._released)

    @property
    def row_bytes(self) -> int:
        return int(self._rows.itemsize * self._rows.shape[1])

    def acquire(self, row: Rows) -> int | None:
        """A slot that now holds `row` (S,), or None when all slots are in use."""
        if self._released:
            slot = self._released.pop()
        elif self._untouched < self.capacity:
            slot = self._untouched
            self._untouched += 1
        else:
            return None
        self._rows[slot] = row
        return slot

    def release(self, slot: int) -> None:
        """Give a slot back; nothing of its row is left."""
        self._rows[slot] = 0
        self._released.append(slot)

    def take(self, slots: Sequence[int]) -> Rows:
        """A copy of the rows (B, S) in the given slots."""
        return self._rows[list(slots)]

    def put(self, slots: Sequence[int], rows: Rows) -> None:
        """Store rows (B, S) in the given, distinct slots."""
        self._rows[list(slots)] = rows
