"""Whether commits take next to no time: then they may be made on the event loop, which must not wait for a disk."""

from __future__ import annotations

import time

BRIEF_SECONDS = 0.003
"""What commits may take on average; a few brief runs take as long."""
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 60.0
_LONG = 10
"""How many times brief a single commit may take, before it counts by itself."""
_SHARE = 1 / 8
"""Of the last commit in the average."""


class Brevity:
    """What commits took lately that somebody waited for on the spot.

    Where that was long there is a pause, in which none is made there, and after it another try; each pause is twice as
    long as the one before, until commits are brief again: a slow disk holds the event loop up ever less often.
    """

    def __init__(self) -> None:
        self._average = 0.0
        self._pause = 0.0
        self._until = 0.0

    @property
    def is_likely(self) -> bool:
        """Whether the next commit may be expected to be brief."""
        return not self._until or time.monotonic() >= self._until

    def took(self, seconds: float) -> None:
        """Learn from a commit."""
        self._average += (seconds - self._average) * _SHARE
        if self._until:
            self._average, self._until = seconds, 0.0
        if self._average > BRIEF_SECONDS or seconds > _LONG * BRIEF_SECONDS:
            self._pause = min(max(2 * self._pause, FIRST_PAUSE_SECONDS, 20 * seconds), LONGEST_PAUSE_SECONDS)
            self._until = time.monotonic() + self._pause
        elif self._average < BRIEF_SECONDS / 2:
            self._pause = 0.0
