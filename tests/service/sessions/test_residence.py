"""Where a session's row is: in the state table, in the journal, or not its own yet."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

import pytest

from service.engine.engine import Engine
from service.errors import Overloaded
from service.journal import Entry, Journal
from service.journal.memory import MemoryJournal
from service.models.repository import Repository
from service.sessions.async_journal import AsyncJournal
from service.sessions.ownership import SessionKey
from service.sessions.places import TurnEnds
from service.sessions.residence import Residence
from service.sessions.session import Session
from service.tasks.forecast import observe
from tests.known_models import RUNNING_SUM
from tests.service.conftest import CALENDAR_SUM
from tests.service.engine.building import engine_of
from tests.service.running import DurableJournal, Watch, floats, opened, opens, row_of, running

pytestmark = pytest.mark.anyio

START = floats(1, 2, 3)


def residence_of(engine: Engine, journal: Journal | None = None) -> Residence:
    return Residence(engine, AsyncJournal(journal or MemoryJournal(), Watch()), Watch())


class Homeless:
    """No home: the rows of these sessions are asked for by hand."""

    turn_ends = TurnEnds()
    watch = Watch()

    def slot_of(self, session: Session) -> int | None:
        return session.slot

    async def bring(self, session: Session) -> None: ...

    async def refresh(self, session: Session) -> None: ...

    async def current(self, session: Session) -> Session:
        return session

    def on_used(self, session: Session) -> None: ...


def new_session(engine: Engine, residence: Residence, id_: str) -> Session:
    session = Session(SessionKey(id_), engine, 0, 60, None, Homeless())
    residence.add(session, START)
    return session


def stored(journal: Journal, ids: str) -> list[bool]:
    """Whether the journal has each of these."""
    return [journal.load(id_) is not None for id_ in ids]


async def test_a_row_enters_memory_when_its_session_is_used(known: Repository) -> None:
    async with engine_of(known.get(RUNNING_SUM)) as engine:
        residence = residence_of(engine)
        session = new_session(engine, residence, "a")
        assert (session.slot, residence.state_bytes) == (None, 0)
        assert residence.row(session).tolist() == [1, 2, 3] and session.slot is None
        residence.bring(session)
        assert session.slot == 0 and residence.state_bytes == 12
        assert residence.row(session).tolist() == [1, 2, 3]


async def test_a_journal_that_ends_with_the_process_has_only_the_rows_that_left(known: Repository) -> None:
    journal = MemoryJournal()
    async with engine_of(known.get(RUNNING_SUM), capacity=1) as engine:
        residence = residence_of(engine, journal)
        a, b = (new_session(engine, residence, id_) for id_ in "ab")
        residence.bring(a)
        assert stored(journal, "ab") == [False, False]
        engine.table.put([0], floats(7, 8, 9)[None])
        residence.bring(b)
        assert (a.slot, b.slot) == (None, 0) and stored(journal, "ab") == [True, False]
        residence.bring(a)
        assert stored(journal, "ab") == [False, True] and residence.row(a).tolist() == [7, 8, 9]


async def test_a_durable_journal_has_every_opening_and_is_handed_no_row_that_leaves(known: Repository) -> None:
    class Counting(DurableJournal):
        def __init__(self) -> None:
            super().__init__()
            self.committed: list[str] = []

        def commit(self, entries: Sequence[Entry]) -> AbstractSet[str]:
            self.committed += [entry.session_id for entry in entries]
            return super().commit(entries)

    journal = Counting()
    async with running(known, journal=journal, resident_sessions=1) as service:
        a, b = [await opens(service, RUNNING_SUM, id=id_) for id_ in "ab"]
        for session in (a, b, a):
            await observe(session, floats(1))
        assert journal.committed == ["a", "b", "a", "b", "a"]
        assert (a.slot, b.slot) == (0, None) and service.store.row(b)[2] == 1


async def test_nobody_is_sent_out_who_is_about_to_be_read_or_written(known: Repository) -> None:
    async with engine_of(known.get(RUNNING_SUM), capacity=2) as engine:
        residence = residence_of(engine)
        a, b, c = (new_session(engine, residence, id_) for id_ in "abc")
        residence.bring(a)
        residence.bring(b)
        a.pinned = True
        residence.bring(c)
        assert (a.slot is None, b.slot is None) == (False, True)
        c.pinned = True
        with pytest.raises(Overloaded, match="all 2 rows of model running-sum/1 are in use"):
            residence.bring(b)
        assert residence.row(b).tolist() == [1, 2, 3] and b.slot is None


async def test_many_rows_leave_a_large_table_together_and_the_oldest_first(known: Repository) -> None:
    watch = Watch()
    async with running(known, watch, resident_sessions=640, max_sessions=2000) as service:
        sessions = [opened(service, RUNNING_SUM) for _ in range(650)]
        for session in sessions:
            session.home.slot_of(session)
        out = [number for number, session in enumerate(sessions) if session.slot is None]
        assert out == list(range(10)) and watch.events["evicted: pressure"] == 10
        assert watch.state_bytes == 640 * sessions[0].engine.table.row_bytes


async def test_what_is_forgotten_leaves_neither_slot_nor_row(known: Repository) -> None:
    async with engine_of(known.get(RUNNING_SUM)) as engine:
        residence = residence_of(engine)
        used, unused = (new_session(engine, residence, id_) for id_ in "ab")
        residence.bring(used)
        for session in (used, unused):
            residence.forget(session, "closed")
        assert used.slot is None and residence.state_bytes == 0 and not residence._at_hand


async def test_sessions_not_used_yet_share_the_row_they_start_from(known: Repository) -> None:
    async with running(known) as service:
        a, b = (opened(service, RUNNING_SUM) for _ in range(2))
        residence = service.store.live._residence(a.engine)
        assert not residence._at_hand and row_of(service, a) == row_of(service, b) == a.model.initial().tobytes()


async def test_sessions_with_static_covariates_start_from_rows_of_their_own(known: Repository) -> None:
    async with running(known) as service:
        a, b = (opened(service, CALENDAR_SUM, static={"offset": offset, "kind": "a"}) for offset in (5.0, 7.0))
        assert [service.store.row(session)[1] for session in (a, b)] == [5, 7]
        fork = await service.store.fork(b.key, "fork", None)
        assert service.store.row(fork)[1] == 7


async def test_to_look_at_a_row_is_no_use_of_it(known: Repository) -> None:
    async with running(known, resident_sessions=1) as service:
        a, b = (opened(service, RUNNING_SUM) for _ in range(2))
        await observe(a, floats(3, 4))
        await observe(b, floats(1))
        used, row = a.used, row_of(service, a)
        service.store.row(a)[:] = 0
        assert a.slot is None and a.used == used and row_of(service, a) == row


async def test_a_session_costs_little_besides_its_row(known: Repository) -> None:
    """What a million sessions cost is this: object, id, index, list, deadline, and its place in the table."""
    count = 5000
    async with running(known, max_sessions=count, resident_sessions=count) as service:
        row_of(service, opened(service, RUNNING_SUM))
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(count - 1):
                session = opened(service, RUNNING_SUM)
                session.home.slot_of(session)
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert len(service.store) == count and (after - before) / count < 620
