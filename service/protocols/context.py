"""What every route needs: the service, the settings, the metrics, and who is being served right now."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from starlette.requests import HTTPConnection

from service.access.admission import Access
from service.access.limits import Limits
from service.access.web import Origins
from service.engine.admission import begin_request
from service.engine.owner import working_for
from service.errors import ShuttingDown
from service.metrics import Metrics
from service.protocols.connections import Connections
from service.protocols.pulse import Pulse
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
    pulse: Pulse = field(default_factory=lambda: Pulse(math.inf))
    """Of the event loop; one that does not beat refuses nobody."""
    _active_of: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Count one request or message while it is answered: what it asks of the engine is admitted once.

        Raises:
            ShuttingDown: the service takes nothing new.
            Overloaded: the event loop is behind with what it has taken on.
        """
        if self.draining:
            raise ShuttingDown()
        owner = working_for.get()
        self.pulse.require(self.active_of(owner))
        begin_request()
        self.begin(owner)
        try:
            yield
        finally:
            self.end(owner)

    def begin(self, owner: str | None) -> None:
        """One request or message of an owner's is being answered, until `end` is told."""
        self.active += 1
        if owner is not None:
            self._active_of[owner] = self._active_of.get(owner, 0) + 1

    def end(self, owner: str | None) -> None:
        """It is answered."""
        self.active -= 1
        if owner is not None:
            self._active_of[owner] -= 1
            if not self._active_of[owner]:
                del self._active_of[owner]

    def active_of(self, owner: str | None) -> int:
        """How many of an owner's are being answered: who is not told from others answers for all of them."""
        return self.active if owner is None else self._active_of.get(owner, 0)

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
    access: Access
    rates: Limits
    origins: Origins
    connections: Connections
    ports: dict[str, int] = field(default_factory=dict)
    """Where protocols with a port of their own listen, by their name, once they do."""


def context_of(connection: HTTPConnection) -> Context:
    """The context of the application a request came to."""
    found = connection.app.state.context
    assert isinstance(found, Context)
    return found
