"""What becomes of a run's results between the run and its answers: stored, refused, or not known to be either."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

import pytest

from service.engine.job import Result
from service.errors import JournalUnavailable, SessionMoved
from service.journal import Entry
from service.models.model import Model
from tests.service.engine.building import (
    BrokenJournal,
    Committed,
    engine_of,
    observe,
    outcome,
    row,
)
from tests.service.running import PATIENCE_S, DurableJournal, gated

pytestmark = pytest.mark.anyio


async def test_what_the_journal_may_not_have_moves_no_session_and_its_row_is_not_believed(model: Model) -> None:
    async with engine_of(model, journal=BrokenJournal()) as engine:
        commit = Committed(engine.table.acquire(row(4, 0, 2)) or 0)
        assert isinstance(await outcome(engine.submit(observe([1], commit))), JournalUnavailable)
        assert not commit.applied and commit.discarded == 1


async def test_what_the_journal_refuses_was_done_by_another_replica(model: Model) -> None:
    class Refusing(DurableJournal):
        def commit(self, entries: Sequence[Entry]) -> AbstractSet[str]:
            return {"a"}

    async with engine_of(model, journal=Refusing()) as engine:
        a, b = (Committed(engine.table.acquire(row(4, 0, 2)) or 0, name) for name in "ab")
        moved, stored = await asyncio.gather(*(outcome(engine.submit(observe([1], commit))) for commit in (a, b)))
        assert isinstance(moved, SessionMoved) and not a.applied and a.discarded == 1
        assert isinstance(stored, Result) and b.applied == [stored] and not b.discarded


async def test_the_next_run_does_not_wait_for_a_commit(model: Model) -> None:
    disk = threading.Event()

    class Slow(DurableJournal):
        def commit(self, entries: Sequence[Entry]) -> AbstractSet[str]:
            assert disk.wait(PATIENCE_S)
            return super().commit(entries)

    async with engine_of(model, journal=Slow()) as engine:
        slow, free = (Committed(engine.table.acquire(model.initial()) or 0, name) for name in ("slow", "free"))
        free.durability = "none"
        committing = engine.submit(observe([1], slow))
        await engine.submit(observe([1], free))
        assert not committing.done() and not slow.applied
        disk.set()
        await committing
        assert slow.applied


async def test_an_answer_waits_for_what_its_durability_says(model: Model) -> None:
    journal = BrokenJournal()
    async with engine_of(model, journal=journal) as engine:
        later, never = (Committed(engine.table.acquire(model.initial()) or 0, name) for name in ("later", "never"))
        later.durability, never.durability = "async", "none"
        for commit in (later, never):
            await engine.submit(observe([1], commit))
            assert commit.applied and not commit.discarded
        journal.broken = False
    assert journal.load("later") is not None and journal.load("never") is None


async def test_a_journal_that_fails_fails_only_what_was_to_be_committed(model: Model) -> None:
    async with engine_of(model, journal=BrokenJournal()) as engine:
        commit = Committed(engine.table.acquire(model.initial()) or 0)
        with gated(model) as gate:
            gate.close()
            blocker = engine.submit(observe([0], model=model))
            await gate.entered()
            committing, scratch = engine.submit(observe([1], commit)), engine.submit(observe([1], model=model))
            gate.open()
            await blocker
            assert isinstance(await outcome(committing), JournalUnavailable)
            assert isinstance(await outcome(scratch), Result)


class SpotJournal(DurableJournal):
    """Commits on the spot, but for those who may wait."""

    on_the_spot = 0

    def commit_now(self, entries: Sequence[Entry]) -> AbstractSet[str] | None:
        self.on_the_spot += 1
        return self.commit(entries)


async def test_a_brief_run_is_committed_on_the_event_loop_where_that_takes_no_time(model: Model) -> None:
    journal = SpotJournal()
    async with engine_of(model, journal=journal) as engine:
        slots = [engine.table.acquire(model.initial()) for _ in range(3)]
        commits = [Committed(slot, f"s{number}") for number, slot in enumerate(slots) if slot is not None]
        commits[2].durability = "async"
        for number in range(1, 4):
            for commit in commits[:2]:
                await engine.submit(observe([1.0], commit))
                assert journal.load(commit.name) is not None and len(commit.applied) == number
        assert journal.on_the_spot == 6
        # What nobody waits for, and what takes a while, goes to the journal's own thread.
        await engine.submit(observe([1.0], commits[2]))
        await engine.submit(observe([1.0, 2.0, 3.0], commits[0]))
        assert journal.on_the_spot == 6


async def test_what_is_refused_on_the_event_loop_was_done_by_another_replica(model: Model) -> None:
    class Refusing(SpotJournal):
        def commit(self, entries: Sequence[Entry]) -> AbstractSet[str]:
            return {entry.session_id for entry in entries}

    async with engine_of(model, journal=Refusing()) as engine:
        slot = engine.table.acquire(model.initial())
        assert slot is not None
        commit = Committed(slot, "somebody/a")
        found = await outcome(engine.submit(observe([1.0], commit)))
        assert isinstance(found, SessionMoved) and "session a was moved" in found.message
        assert commit.discarded == 1 and not commit.applied
