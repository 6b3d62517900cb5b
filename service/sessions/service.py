"""The running service below its protocols: repository, engines, journal and sessions, started and stopped together."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from service.engine.engine import QUEUE_SECONDS, Engine, Watch
from service.engine.job import Durability
from service.errors import InputMismatch, ModelNotFound, UnrollError
from service.journal import Entry, Journal
from service.journal.memory import MemoryJournal
from service.journal.writer import CommitWatch
from service.models.repository import Repository, ScanReport
from service.sessions.async_journal import AsyncJournal
from service.sessions.engines import Engines
from service.sessions.frequency import frequency_of, require_frequency, told_frequency
from service.sessions.live import SessionWatch
from service.sessions.moving import Snapshots, migrate, record_in
from service.sessions.new_session import NewSession
from service.sessions.ownership import SessionKey
from service.sessions.pages import Pages
from service.sessions.prefix_cache import PrefixCache, PrefixWatch
from service.sessions.quota import Allowance
from service.sessions.record import Record
from service.sessions.restoring import gone, key_of, require_same_model
from service.sessions.session import Session
from service.sessions.static import StaticValues, initial_row
from service.sessions.store import SessionStore, StoreLimits

log = logging.getLogger(__name__)

_SWEEP_SECONDS = 5.0


class ServiceWatch(Watch, SessionWatch, CommitWatch, PrefixWatch, Protocol):
    """Whoever counts what happens in the service."""


@dataclass(frozen=True)
class OpenSession:
    """A request for a new session; what is None is chosen by the service."""

    model: str
    version: int | None = None
    owner: str | None = field(kw_only=True)
    """The name of the API key it is to belong to; None where keys are not asked for."""
    id: str | None = None
    first_timestamp: np.datetime64 | None = None
    static: StaticValues | None = None
    seed: int | None = None
    time_to_live_s: float | None = None
    durability: Durability | None = None
    snapshot: bytes | None = None
    """To go on from, instead of from the beginning."""
    anomaly_threshold: float | None = None
    frequency: str | None = None


@dataclass(frozen=True)
class ServiceLimits:
    """Bounds of one process.

    Args:
        resident_sessions: rows in memory for each model; sessions beyond it live in the journal until used.
        queue_limit: jobs that may wait for each model.
        queue_seconds: of work that may lie before a request.
        snapshot_key: of the signatures of snapshots; one that is kept in the journal if empty.
        prefix_cache_bytes: of rows after the beginnings of prompts.
    """

    store: StoreLimits
    resident_sessions: int
    queue_limit: int
    snapshot_key: str = ""
    queue_seconds: float = QUEUE_SECONDS
    prefix_cache_bytes: int = 0


class Service:
    """What protocols and tasks hold. All methods belong to the event loop.

    Args:
        journal: where sessions are kept, closed when the service stops; in memory if None.
        allowance: what owners may have, and who is told what they take; no limits if None.
    """

    def __init__(
        self,
        repository: Repository,
        watch: ServiceWatch,
        limits: ServiceLimits,
        journal: Journal | None = None,
        allowance: Allowance | None = None,
    ) -> None:
        self.repository = repository
        self._watch = watch
        self.journal = AsyncJournal(MemoryJournal() if journal is None else journal, watch)
        self.store = SessionStore(self.journal, watch, limits.store, self._engine_of, allowance)
        self.pages = Pages(self.store.live, self.journal, self._engine_of)
        self.prefixes = PrefixCache(limits.prefix_cache_bytes, watch)
        self.snapshots = Snapshots(self.journal, limits.snapshot_key)
        self.engines = Engines(
            *(self.journal, watch),
            capacity=limits.resident_sessions,
            queue_limit=limits.queue_limit,
            queue_seconds=limits.queue_seconds,
            meter=allowance,
        )
        self._stopping = self._stopped = False
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> ScanReport:
        """Load what the repository holds and begin to serve it."""
        live = self.store.live
        self.journal.start(live.on_refused, live.on_stored)
        report, _ = await asyncio.gather(self.reload(), self.journal.look())
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
        """Refuse what is new, finish what waits, for at most `grace_s` seconds, and let go of the journal."""
        self._stopping = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._sweeper
        await self.engines.stop(grace_s)
        if not self._stopped:
            self._stopped = True
            await self.journal.close(grace_s)

    def ready(self) -> tuple[bool, list[str]]:
        """Whether requests can be served, and what stands against it. A model counts after one real step of it."""
        reasons = []
        if self._stopping:
            reasons.append("the service is shutting down")
        if not self.repository.models():
            reasons.append("no model version is loaded")
        if self.journal.trouble is not None:
            reasons.append(self.journal.trouble)
        return not reasons, reasons

    async def open(self, request: OpenSession) -> Session:
        """A new session at position 0, stored before this returns unless its durability is `none`.

        Raises:
            ModelNotFound, InputMismatch, SessionExists, Overloaded, ShuttingDown, JournalUnavailable
        """
        if request.snapshot is not None:
            return await self._open_from(request, request.snapshot)
        model = self.repository.get(request.model, request.version)
        engine = self.engines.of(model)
        if request.first_timestamp is not None and model.manifest.forecast is None:
            does = "classifiers" if model.manifest.classify else "text models"
            raise InputMismatch(f"first_timestamp: {does} have none; leave it out", parameter="first_timestamp")
        told = told_frequency(model.manifest, request.frequency)
        if request.first_timestamp is not None:
            require_frequency(model.manifest, frequency_of(model.manifest, told), "first_timestamp")
        wanted = NewSession(
            *(request.owner, request.id, request.seed, request.first_timestamp),
            *(request.time_to_live_s, request.durability, request.anomaly_threshold, told),
        )
        return await self.store.add(engine, initial_row(model, request.static, told), wanted)

    async def _open_from(self, request: OpenSession, blob: bytes) -> Session:
        """A new session that stands where the snapshot does."""
        own = ("first_timestamp", request.first_timestamp), ("frequency", request.frequency)
        for name, value in (*own, ("static_covariates", request.static)):
            if value is not None:
                raise InputMismatch(f"{name}: a snapshot has its own: leave it out", parameter=name)
        snapshot = await self.snapshots.read(blob)
        model = self.repository.get(request.model, request.version or snapshot.version)
        at = record_in(snapshot, model)
        wanted = NewSession(
            request.owner,
            request.id,
            at.seed if request.seed is None else request.seed,
            at.first_timestamp,
            request.time_to_live_s,
            request.durability,
            at.anomaly_threshold if request.anomaly_threshold is None else request.anomaly_threshold,
            at.frequency,
        )
        row = np.frombuffer(snapshot.row, np.float32)
        return await self.store.add(self.engines.of(model), row, wanted, at)

    async def migrate(self, key: SessionKey, name: str | None, version: int | None) -> Session:
        """Let a session go on with another version of its model, the newest if none is named.

        Raises:
            ModelNotFound, InputMismatch, SessionNotFound, SessionExpired, SessionMoved, JournalUnavailable
        """
        if name is None:
            name = await self.store.model_of(key)
        engine = self.engines.of(self.repository.get(name, version))
        return await migrate(self.store, self.journal, key, engine)

    def _engine_of(self, entry: Entry) -> Engine:
        """The engine that a stored session runs on.

        Raises:
            VersionGone: its model version is not served here.
        """
        record: Record = entry.record
        name, _, version = record.model_id.rpartition("/")
        try:
            model = self.repository.get(name, int(version))
        except ModelNotFound as error:
            raise gone(key_of(entry), record.model_id, error.message) from None
        require_same_model(entry, model)
        return self.engines.of(model)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            try:
                await self.store.sweep()
                if self.journal.durable:
                    await self.store.live.tell_journal()
                await self._retire_unused()
            except UnrollError as error:
                log.warning("a sweep was cut short: %s", error.message)
            except Exception:
                log.exception("a sweep failed; the next one is in %g s", _SWEEP_SECONDS)

    async def _retire_unused(self) -> None:
        """Stop the engines of versions that have left the repository and whose last session is gone."""
        needed = {*self.repository.models(), *(engine.model for engine in self.store.engines_in_use())}
        await self.engines.retire_all_but(needed, grace_s=5.0)
