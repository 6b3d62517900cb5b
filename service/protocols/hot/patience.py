"""How long a connection waits for its client: for what it has begun to send, and for it to read what it was answered.

One timer for each connection looks now and then, instead of one for every request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_LOOKS = 4
"""Times that a connection is looked at within the shortest of its waits."""
_LEAST_READ = 65_536
"""Bytes of its answers that a client has to take in, each time that it is waited for, unless that is all of them."""


class UnreadAnswers:
    """What waits to be read by one client.

    Args:
        pause_s: within which some of it has to be read.
        whole_s: within which all of it has to be, once there is any.
    """

    __slots__ = ("_mark", "_moved", "_pause_s", "_since", "_whole_s")

    def __init__(self, pause_s: float, whole_s: float) -> None:
        self._pause_s, self._whole_s = pause_s, whole_s
        self._since: float | None = None
        self._moved = 0.0
        self._mark = 0

    def on_read(self) -> None:
        """The client has read so much that it may be sent more."""
        self._since = None

    def waited_too_long(self, now: float, size: int) -> bool:
        """Whether the client is given up, with `size` bytes waiting for it now."""
        if not size:
            self._since = None
        elif self._since is None:
            self._since = self._moved = now
            self._mark = size
        elif size <= self._mark - _LEAST_READ:
            self._moved, self._mark = now, size
        else:
            self._mark = max(self._mark, size)
            return now - self._moved > self._pause_s or now - self._since > self._whole_s
        return False


class Looks:
    """Calls `look` again and again, about four times within the shortest wait, until it is stopped."""

    __slots__ = ("_every", "_look", "_loop", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, shortest_s: float, look: Callable[[], None]) -> None:
        self._loop = loop
        self._every = shortest_s / _LOOKS
        self._look = look
        self._timer: asyncio.TimerHandle | None = None
        self._schedule()

    def _schedule(self) -> None:
        self._timer = self._loop.call_later(self._every, self._now)

    def _now(self) -> None:
        self._schedule()
        self._look()

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
