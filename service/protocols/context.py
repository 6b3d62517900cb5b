"""What every route needs: the service, the settings, the metrics, and who is being served right now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from starlette.requests import HTTPConnection

from service.errors import ShuttingDown
from service.metrics import Metrics
from service.sessions.service import Service
from service.settings import Settings
from service.tasks.limits import TaskLimits


@dataclass(eq=False)
class Traffic:
    """Counts what is being answered, so that a shutdown can wait for it and refuse what is new."""

    active: int = 0
    draining: bool = False
    idle: set[Callable[[], Awaitable[None]]] = field(default_factory=set)
    """How to close each connection that waits for its client's next message."""

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Count one request or message while it is answered.

        Raises:
            ShuttingDown: the service takes nothing new.
        """
        if self.draining:
            raise ShuttingDown()
        self.active += 1
        try:
            yield
        finally:
            self.active -= 1

    async def drain(self, grace_s: float, hurry: Callable[[], bool] = lambda: False) -> None:
        """Refuse what is new, close idle connections, and wait until the rest is answered, `grace_s` at most."""
        self.draining = True
        # One that fails to close is gone already.
        await asyncio.gather(*(close() for close in self.idle), return_exceptions=True)
        deadline = time.monotonic() + grace_s
        while self.active and time.monotonic() < deadline and not hurry():
            await asyncio.sleep(0.01)


@dataclass(frozen=True)
class Context:
    """Everything a route may use."""

    service: Service
    settings: Settings
    metrics: Metrics
    traffic: Traffic
    limits: TaskLimits
    ports: dict[str, int] = field(default_factory=dict)
    """Where protocols with a port of their own listen, by their name, once they do."""


def context_of(connection: HTTPConnection) -> Context:
    """The context of the application a request came to."""
    found = connection.app.state.context
    assert isinstance(found, Context)
    return found
