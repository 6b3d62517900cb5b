"""Slots: the numbers of a state table's rows, who may have one, and which were not used for longest.

Knows no rows, so that tables on the host and on a device share it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

SlotNumbers = Sequence[int] | NDArray[np.intp]

_WINDOW = 4096
"""Slots that are compared with each other to find the least recently used."""
_FREE = np.iinfo(np.int64).max


class Slots:
    """`capacity` numbers, handed out one at a time.

    Every call costs the same however many there are. `touch` may be called from the engine's thread while all others
    are called from the event loop: ages are compared to choose, and nothing breaks where one is a moment old.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._released: list[int] = []
        self._begun = 0
        """Slots from this one on were never handed out: their memory has not been taken from the system."""
        # When each slot was last used, counted in calls of `touch`.
        self._used = np.zeros(capacity, np.int64)
        self._clock = 0
        self._hand = 0

    @property
    def in_use(self) -> int:
        return self._begun - len(self._released)

    def claim(self) -> int | None:
        """A slot that nobody has, or None when all are in use."""
        if self._released:
            slot = self._released.pop()
        elif self._begun < self.capacity:
            slot = self._begun
            self._begun += 1
        else:
            return None
        self.touch(slot)
        return slot

    def free(self, slot: int) -> None:
        """Give a slot back."""
        self._used[slot] = _FREE
        self._released.append(slot)

    def touch(self, slots: int | SlotNumbers) -> None:
        """Note that slots are being used."""
        self._clock += 1
        self._used[slots] = self._clock

    def least_recently_used(self) -> Iterator[int]:
        """Every slot in use, about in the order in which one would take it away from whoever has it.

        Exactly by age in a table of some thousands of slots. A larger one is looked at in parts, each time from where
        the last look ended: the oldest of thousands are old enough, and to find them costs the same in any table.
        """
        for _ in range(-(-self._begun // _WINDOW)):
            window = (self._hand + np.arange(min(_WINDOW, self._begun))) % self._begun
            self._hand = int(window[-1] + 1) % self._begun
            ages = self._used[window]
            by_age = np.argsort(ages)
            yield from window[by_age[: np.count_nonzero(ages != _FREE)]].tolist()
