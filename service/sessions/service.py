"""The running service below its protocols: repository, engines, journal and sessions, started and stopped together."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from service.engine.engine import Watch
from service.errors import InputMismatch
from service.journal import Journal
from service.journal.memory import MemoryJournal
from service.models.repository import Repository, ScanReport
from service.sessions.engines import Engines
from service.sessions.session import Session
from service.sessions.static import StaticValues, initial_row
from service.sessions.store import SessionStore, SessionWatch, StoreLimits

log = logging.getLogger(__name__)

_SWEEP_SECONDS = 5.0


class ServiceWatch(Watch, SessionWatch, Protocol):
    """Whoever counts what happens in the service."""


@dataclass(frozen=True)
class OpenSession:
    """A request for a new session; what is None is chosen by the service."""

    model: str
    version: int | None = None
    id: str | None = None
    first_timestamp: np.datetime64 | None = None
    static: StaticValues | None = None
    seed: int | None = None
    time_to_live_s: float | None = None


@dataclass(frozen=True)
class ServiceLimits:
    """Bounds of one process.

    Args:
        resident_sessions: rows in memory for each model; sessions beyond it live in the journal until used.
        queue_limit: jobs that may wait for each model.
    """

    store: StoreLimits
    resident_sessions: int
    queue_limit: int


class Service:
    """What protocols and tasks hold. All methods belong to the event loop."""

    def __init__(
        self, repository: Repository, watch: ServiceWatch, limits: ServiceLimits, journal: Journal | None = None
    ) -> None:
        self.repository = repository
        self._watch = watch
        self._journal: Journal = MemoryJournal() if journal is None else journal
        self.engines = Engines(
            self._journal,
            self._watch,
            capacity=limits.resident_sessions,
            queue_limit=limits.queue_limit,
        )
        self.store = SessionStore(self._journal, watch, limits.store)
        self._stopping = False
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> ScanReport:
        """Load what the repository holds and begin to serve it."""
        report = await self.reload()
        self._sweeper = asyncio.create_task(self._sweep(), name="sweep of expired sessions")
        return report

    async def reload(self) -> ScanReport:
        """Look at the repository again. Sessions stay on the version they were opened with."""
        return await self._take_up(await asyncio.to_thread(self.repository.scan))

    async def load(self, name: str) -> None:
        """Load what is new of one model, and all of it if it was unloaded.

        Raises:
            ModelNotFound: the repository has none of that name.
            InputMismatch: a version is kept out; the others serve.
        """
        report = await self._take_up(await asyncio.to_thread(self.repository.load, name))
        for version, reason in report.rejected.items():
            raise InputMismatch(f"model: {version} is kept out: {reason}", parameter="model")

    async def unload(self, name: str) -> None:
        """Let go of one model until it is loaded again. Its sessions go on until they are closed or expire.

        Raises:
            ModelNotFound: none of that name is loaded.
        """
        await self._take_up(await asyncio.to_thread(self.repository.unload, name))

    async def _take_up(self, report: ScanReport) -> ScanReport:
        """Begin to serve what was loaded, and retire what nobody needs any more."""
        for name, reason in report.rejected.items():
            log.warning("model version %s is kept out: %s", name, reason)
        for model in report.loaded:
            await self.engines.prepare(model)
            self.engines.of(model)
        await self._retire_unused()
        return report

    async def stop(self, grace_s: float) -> None:
        """Refuse what is new and finish what waits, for at most `grace_s` seconds."""
        self._stopping = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._sweeper
        await self.engines.stop(grace_s)

    def ready(self) -> tuple[bool, list[str]]:
        """Whether requests can be served, and what stands against it. A model counts after one real step of it."""
        reasons = []
        if self._stopping:
            reasons.append("the service is shutting down")
        if not self.repository.models():
            reasons.append("no model version is loaded")
        return not reasons, reasons

    def open(self, request: OpenSession) -> Session:
        """A new session at position 0.

        Raises:
            ModelNotFound, InputMismatch, SessionExists, Overloaded, ShuttingDown
        """
        model = self.repository.get(request.model, request.version)
        engine = self.engines.of(model)
        if request.first_timestamp is not None and model.manifest.forecast is None:
            raise InputMismatch("first_timestamp: text models have none; leave it out", parameter="first_timestamp")
        return self.store.add(
            engine,
            initial_row(model, request.static),
            session_id=request.id,
            seed=request.seed,
            first_timestamp=request.first_timestamp,
            time_to_live_s=request.time_to_live_s,
        )

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            try:
                await self.store.sweep()
                await self._retire_unused()
            except Exception:
                log.exception("a sweep failed; the next one is in %g s", _SWEEP_SECONDS)

    async def _retire_unused(self) -> None:
        """Stop the engines of versions that have left the repository and whose last session is gone."""
        needed = {*self.repository.models(), *(engine.model for engine in self.store.engines_in_use())}
        await self.engines.retire_all_but(needed, grace_s=5.0)
