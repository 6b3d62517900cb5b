"""Preallocated state rows and who may use which: the working set of one engine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from service.engine.slots import SlotNumbers, Slots

Rows = NDArray[np.float32]


class StateTable(Slots):
    """`capacity` rows of `width` float32 values, by slot.

    The memory is taken from the system as rows are first written, so a large capacity costs nothing by itself.
    """

    def __init__(self, width: int, capacity: int) -> None:
        super().__init__(capacity)
        self._rows: Rows = np.zeros((capacity, width), np.float32)

    @property
    def row_bytes(self) -> int:
        return int(self._rows.itemsize * self._rows.shape[1])

    def acquire(self, row: Rows) -> int | None:
        """A slot that now holds `row` (S,), or None when all slots are in use."""
        slot = self.claim()
        if slot is not None:
            self._rows[slot] = row
        return slot

    def release(self, slot: int) -> None:
        """Give a slot back; nothing of its row is left."""
        self._rows[slot] = 0
        self.free(slot)

    def take(self, slots: SlotNumbers, out: Rows | None = None) -> Rows:
        """The rows (B, S) in the given slots: a copy, in `out` where given."""
        # The slots are our own and in range; "raise" would copy through a buffer of its own to be sure of that.
        return self._rows.take(slots, axis=0, out=out, mode="clip")

    def put(self, slots: SlotNumbers, rows: Rows) -> None:
        """Store rows (B, S) in the given, distinct slots."""
        self._rows[slots] = rows
