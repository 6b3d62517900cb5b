"""A service below its protocols, for tests: real repository, engines and sessions, and a watch that writes down."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from service.contract.manifest import GraphName
from service.journal import Journal
from service.journal.memory import MemoryJournal
from service.models.device import Device
from service.models.model import Model
from service.models.repository import Repository
from service.sessions.ownership import SessionKey
from service.sessions.service import OpenSession, Service, ServiceLimits
from service.sessions.session import Session
from service.sessions.store import StoreLimits

T = TypeVar("T")

PATIENCE_S = 20.0
"""Seconds after which something that should have happened counts as never."""


class Watch:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()
        self.runs: list[tuple[str, int, int]] = []
        self.state_bytes = 0

    def on_run(self, model: str, graph: str, rows: int, steps: int, seconds: float) -> None:
        self.runs.append((graph, rows, steps))

    def on_pit(self, model: str, pit: NDArray[np.float32]) -> None:
        self.events["pits"] += pit.size

    def on_anomalies(self, model: str, count: int) -> None:
        self.events["anomalies"] += count

    def on_run_failed(self, model: str, graph: str) -> None:
        self.events["run failed"] += 1

    def on_prefix(self, model: str, hit: int, missed: int) -> None:
        self.events["prefix hit"] += hit
        self.events["prefix missed"] += missed

    def on_queue(self, model: str, depth: int) -> None:
        self.events["queue"] = depth

    def on_rejected(self, model: str) -> None:
        self.events["rejected"] += 1

    def on_session(self, model: str, event: str) -> None:
        self.events[event] += 1

    def on_eviction(self, model: str, reason: str) -> None:
        self.events[f"evicted: {reason}"] += 1

    def on_commit(self, entries: int, refused: int, seconds: float) -> None:
        self.events["commits"] += 1

    def on_commit_failed(self, entries: int) -> None:
        self.events["failed commits"] += 1

    def on_state_bytes(self, model: str, count: int) -> None:
        self.state_bytes = count


class DurableJournal(MemoryJournal):
    """Is told of every commit, as one whose entries outlive the process."""

    durable = True


@asynccontextmanager
async def running(
    models: Path | Repository,
    watch: Watch | None = None,
    *,
    max_sessions: int = 1000,
    time_to_live_s: float = 3600,
    resident_sessions: int = 1000,
    queue_limit: int = 4096,
    journal: Journal | None = None,
) -> AsyncIterator[Service]:
    """A started service on the models of a folder or of a repository, stopped at the end."""
    limits = ServiceLimits(StoreLimits(max_sessions, time_to_live_s, 7200), resident_sessions, queue_limit)
    repository = models if isinstance(models, Repository) else Repository(models, Device("cpu"))
    service = Service(repository, watch or Watch(), limits, journal)
    await service.start()
    try:
        yield service
    finally:
        await service.stop(grace_s=5)


def opened(service: Service, model: str, **request: Any) -> Session:
    """A new session on a model, of a service whose journal is in memory, so that opening waits for nothing."""
    return at_once(service.open(OpenSession(model, **{"owner": None, **request})))


async def opens(service: Service, model: str, **request: Any) -> Session:
    """A new session on a model, whatever the journal."""
    return await service.open(OpenSession(model, **{"owner": None, **request}))


def found(service: Service, session_id: str) -> Session:
    """The session by that id, of a service whose journal is in memory, so that finding waits for nothing."""
    return at_once(service.store.get(SessionKey(session_id)))


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns that has nothing to wait for."""
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("it waits for something")


def row_of(service: Service, session: Session) -> bytes:
    """The bytes of a session's committed row, in memory or not; nothing is moved."""
    return service.store.row(session).tobytes()


def floats(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)


class Gate:
    """Holds runs of a graph back, so that a test can look at what happens meanwhile. Open at first."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._entered = threading.Semaphore(0)
        self._open.set()

    def close(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    async def entered(self) -> None:
        """Wait until the next run stands before the closed gate."""
        assert await asyncio.to_thread(self._entered.acquire, timeout=PATIENCE_S), "no run came to the gate"

    def pass_through(self) -> None:
        """On the engine's thread, before a run."""
        if not self._open.is_set():
            self._entered.release()
            assert self._open.wait(PATIENCE_S), "the gate was never opened"


@contextmanager
def gated(model: Model, *names: GraphName) -> Iterator[Gate]:
    """A gate before the runs of some of a model's graphs (`observe` if none are named); open again at the end.

    Runs are made on the engine's thread meanwhile, since the event loop must not stand still at the gate.
    """
    gate = Gate()
    chosen: list[GraphName] = list(names) or ["observe"]
    for name in chosen:
        graph = model.graphs[name]
        graph.__dict__.update(execute=_guarded(gate, graph.execute), any_thread=False)
    try:
        yield gate
    finally:
        gate.open()
        for name in chosen:
            del model.graphs[name].__dict__["execute"]
            model.graphs[name].any_thread = True


def _guarded(gate: Gate, execute: Callable[..., None]) -> Callable[..., None]:
    def guarded(binding: Any, options: Any = None) -> None:
        gate.pass_through()
        execute(binding, options)

    return guarded


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something has become true."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.001)
