"""Engines and jobs made by hand, for tests of the engine alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.engine.calibration import calibrate
from service.engine.engine import Engine
from service.engine.job import Durability, Job, Result
from service.engine.ready import ReadyJobs
from service.errors import UnrollError
from service.journal import Entry, Journal
from service.journal.writer import Writer
from service.models.model import Model
from tests.service.running import DurableJournal, Watch


@asynccontextmanager
async def engine_of(
    model: Model,
    watch: Watch | None = None,
    journal: Journal | None = None,
    *,
    capacity: int = 100,
    queue_limit: int = 1000,
) -> AsyncIterator[Engine]:
    """A running engine, stopped at the end."""
    writer = Writer(journal, lambda ids: None) if journal is not None and journal.durable else None
    engine = Engine(
        *(model, writer, watch or Watch()),
        calibration=calibrate(model),
        capacity=capacity,
        queue_limit=queue_limit,
    )
    try:
        yield engine
    finally:
        await engine.stop(grace_s=5)
        if writer is not None:
            assert writer.close(5)


def ready_within(budget: int) -> ReadyJobs:
    """No jobs yet, and the same budget for both graphs."""
    return ReadyJobs({"observe": budget, "generate": budget})


@dataclass
class Committed:
    """A commit that only writes down that it came."""

    slot: int
    name: str = "session"
    applied: list[Result] = field(default_factory=list)
    durability: Durability = "sync"
    discarded: int = 0

    def entry(self, result: Result) -> Entry:
        return Entry(self.name, result.steps, result.rows[0].tobytes(), None)

    def apply(self, result: Result) -> None:
        self.applied.append(result)

    def discard(self) -> None:
        self.discarded += 1


class BrokenJournal(DurableJournal):
    """Refuses to commit while `broken`."""

    broken = True

    def commit(self, entries: Sequence[Entry]) -> AbstractSet[str]:
        if self.broken:
            raise OSError("no space left on device")
        return super().commit(entries)


def initial_rows(model: Model, count: int = 1) -> NDArray[np.float32]:
    return np.tile(model.initial(), (count, 1))


def observe(values: Sequence[float], commit: Committed | None = None, model: Model | None = None) -> Job:
    """A job that observes values, from the committing session's row or from the model's initial one."""
    rows = None if model is None else initial_rows(model)
    return Job("observe", len(values), {"target": np.array([values], np.float32)}, commit=commit, rows=rows)


def row(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)


async def outcome(answer: asyncio.Future[Result]) -> Result | UnrollError:
    """What a job came to, its error included."""
    try:
        return await answer
    except UnrollError as error:
        return error
