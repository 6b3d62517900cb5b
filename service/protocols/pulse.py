"""How far behind the event loop is: what it cannot keep up with is refused before any work is done on it.

Reading, answering and writing are one thread's work, and engines may wait for it rather than it for them. A turn of the
loop that takes long is one in which requests lie unread; one more would only lengthen it. A few at once are answered
at any rate, so that as much gets done as ever.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from service.errors import Overloaded

AT_ONCE = 256
"""Requests that are answered at once, however far behind the loop is."""
PATIENCE_S = 0.25
_PERIOD_S = 0.02


class Pulse:
    """A clock on the event loop whose ticks come late when the loop is behind.

    Args:
        patience_s: how late ticks may come, on the mean of the last few, before new requests are refused.
        on_shed: told of every request that is.
    """

    def __init__(self, patience_s: float = PATIENCE_S, on_shed: Callable[[], None] = lambda: None) -> None:
        self._patience_s = patience_s
        self._on_shed = on_shed
        self._due = math.inf
        """When the next tick should come; never, while it does not beat."""
        self._late_s = 0.0
        """How late the last ones came: the mean of all, each weighing half of the one after it."""

    def is_late(self, now: float) -> bool:
        """Whether the loop is too far behind at `now`, as `time.perf_counter` tells it."""
        # The tick that is due now is believed as soon as it alone has made the mean too large.
        return self._late_s > self._patience_s or now - self._due > 2 * self._patience_s

    def require(self, active: int) -> None:
        """Raises Overloaded where the loop is too far behind to take on one request more than so many."""
        if active >= AT_ONCE and self.is_late(time.perf_counter()):
            raise self.refusal(active)

    def refusal(self, active: int) -> Overloaded:
        """What is said to a request that is refused, which is counted."""
        self._on_shed()
        return Overloaded(f"{active} requests are being answered, and more is asked for than can be: try again later")

    @asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        """Tick until the context ends."""
        task = asyncio.create_task(self._beat(), name="pulse of the event loop")
        try:
            yield
        finally:
            self._due, self._late_s = math.inf, 0.0
            task.cancel()

    async def _beat(self) -> None:
        while True:
            self._due = time.perf_counter() + _PERIOD_S
            await asyncio.sleep(_PERIOD_S)
            self._late_s = (self._late_s + time.perf_counter() - self._due) / 2
