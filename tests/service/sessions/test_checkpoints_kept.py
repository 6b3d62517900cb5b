"""Checkpoints in journals that outlive the process: known after a restart, and gone with their session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from service.errors import InputMismatch, SessionMoved, VersionGone
from service.journal import Journal, clock
from service.journal.codec import Records
from service.journal.location import open_journal
from service.journal.memory import MemoryJournal
from service.models.repository import Repository
from service.sessions.ownership import EVERYONES, SessionKey
from service.sessions.places import MAX_CHECKPOINTS, Place
from service.sessions.record import Record
from service.sessions.service import Service
from service.tasks.text import observe_text
from tests.known_models import NEXT_TOKEN, running_sum
from tests.service.journal.servers import running_server
from tests.service.running import DurableJournal, opens, row_of, running

pytestmark = pytest.mark.anyio

Y = SessionKey("y")
Open = Callable[[], Journal]


@pytest.fixture(params=["sqlite", "valkey"])
def opened_again(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens one journal, again and again."""
    if request.param == "sqlite":
        location = f"sqlite://{tmp_path / 'sessions.db'}"
    else:
        server = running_server(tmp_path / "valkey")
        location = server.__enter__().location
        request.addfinalizer(lambda: server.__exit__(None, None, None))
    return lambda: open_journal(location, Records(Record))


async def save(service: Service, name: str) -> None:
    async with (await service.store.get(Y)).turn(fresh=True) as turn:
        await service.store.checkpoints.save(turn, name)


async def listed(service: Service) -> list[tuple[str, int]]:
    return await service.store.checkpoints.of(await service.store.get(Y))


def all_names(journal: Journal) -> list[str]:
    """The names of all that the journal has."""
    found, after = [], ""
    while True:
        page, after = journal.page(after, 100)
        found += [one.session_id for one in page]
        if not after:
            return sorted(found)


async def with_checkpoints(known: Repository, journal: Journal) -> bytes:
    """Leave a session in the journal that was saved twice, once after its last step; the row of the second."""
    async with running(known, journal=journal) as service:
        session = await opens(service, NEXT_TOKEN, id="y")
        await observe_text(session, text="abc")
        await save(service, "cp1")
        await observe_text(session, text="de")
        await save(service, "cp2")
        return row_of(service, session)


async def test_all_are_listed_and_forked_from_after_a_restart(known: Repository, opened_again: Open) -> None:
    row = await with_checkpoints(known, opened_again())
    async with running(known, journal=opened_again()) as service:
        assert await listed(service) == [("cp1", 3), ("cp2", 5)]
        fork = await service.store.fork(Y, None, None, Place(checkpoint="cp2"))
        assert fork.position == 5 and row_of(service, fork) == row
        await service.store.checkpoints.remove(await service.store.get(Y), "cp1")
    async with running(known, journal=opened_again()) as service:
        assert await listed(service) == [("cp2", 5)]


@pytest.mark.parametrize("how", ["close", "close stored", "close many", "version gone"])
async def test_nothing_is_left_of_a_session_that_is_closed_after_a_restart(
    known: Repository, opened_again: Open, how: str, tmp_path: Path
) -> None:
    await with_checkpoints(known, opened_again())
    models: Repository | Path = known
    if how == "version gone":
        models = tmp_path / "others"
        running_sum(models)
    journal = opened_again()
    async with running(models, journal=journal) as service:
        store = service.store
        assert all_names(journal) == ["y", "y@"]
        if how == "close stored":
            assert await store.close_stored(EVERYONES, NEXT_TOKEN, 0) == 1
        elif how == "close many":
            await store.get(Y)
            assert await store.close_many(EVERYONES, lambda session: True) == 1
        else:
            if how == "version gone":
                with pytest.raises(VersionGone):
                    await store.get(Y)
            await store.close(Y)
        assert all_names(journal) == [] and journal.load("y@") is None


async def test_no_more_than_the_bound_are_kept_across_restarts(known: Repository, opened_again: Open) -> None:
    for start in range(0, MAX_CHECKPOINTS, 6):
        async with running(known, journal=opened_again()) as service:
            if not start:
                await opens(service, NEXT_TOKEN, id="y")
            for number in range(start, min(start + 6, MAX_CHECKPOINTS)):
                await save(service, f"n{number}")
    async with running(known, journal=opened_again()) as service:
        with pytest.raises(InputMismatch, match="no more may be"):
            await save(service, "another")
        await save(service, "n3")
        await service.store.checkpoints.remove(await service.store.get(Y), "n4")
        await save(service, "another")
        assert len(await listed(service)) == MAX_CHECKPOINTS


async def test_replicas_know_each_others_and_a_step_forgets_none(known: Repository, tmp_path: Path) -> None:
    with running_server(tmp_path / "valkey") as server:
        journals = [open_journal(server.location, Records(Record)) for _ in range(2)]
        async with running(known, journal=journals[0]) as a, running(known, journal=journals[1]) as b:
            session = await opens(a, NEXT_TOKEN, id="y")
            await observe_text(session, text="abc")
            await save(a, "a1")
            await save(b, "b1")
            await observe_text(session, text="d")
            await save(a, "a2")
            assert await listed(b) == await listed(a) == [("a1", 3), ("a2", 4), ("b1", 3)]
            await b.store.close(Y)
            assert all_names(journals[0]) == []


class RefusingJournal(DurableJournal):
    """As if another replica had always been faster at checkpoints."""

    def commit(self, entries):  # type: ignore[no-untyped-def]
        names = {entry.session_id for entry in entries if "@" in entry.session_id}
        return names | super().commit([entry for entry in entries if entry.session_id not in names])


async def test_a_checkpoint_that_the_journal_refuses_is_not_saved(known: Repository) -> None:
    async with running(known, journal=RefusingJournal()) as service:
        await opens(service, NEXT_TOKEN, id="y")
        with pytest.raises(SessionMoved, match="ask again"):
            await save(service, "here")
        assert await listed(service) == []


async def test_those_of_a_session_without_durability_are_in_memory_alone(known: Repository) -> None:
    journal = DurableJournal()
    async with running(known, journal=journal) as service:
        session = await opens(service, NEXT_TOKEN, id="y", durability="none")
        await observe_text(session, text="abc")
        await save(service, "here")
        assert all_names(journal) == [] and await listed(service) == [("here", 3)]
        assert (await service.store.fork(Y, None, None, Place(checkpoint="here"))).position == 3
        memory = service.store.checkpoints._memory
        assert all_names(memory) == ["y@"]
        await service.store.close(Y)
        assert all_names(memory) == []


async def test_what_another_session_left_under_the_id_is_replaced(known: Repository) -> None:
    journal = DurableJournal()
    await with_checkpoints(known, journal)
    journal.remove(["y"])  # and not its checkpoints: as if a replica had saved one while another closed it
    async with running(known, journal=journal) as service:
        await opens(service, NEXT_TOKEN, id="y")
        assert await listed(service) == []
        await save(service, "new")
        assert await listed(service) == [("new", 0)]


async def test_one_whose_time_has_passed_is_listed_no_more_and_takes_no_room(
    known: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(known, journal=MemoryJournal()) as service:
        session = await opens(service, NEXT_TOKEN, id="y", time_to_live_s=100.0)
        await save(service, "old")
        now = clock.now()
        monkeypatch.setattr(clock, "now", lambda: now + 60)
        await save(service, "new")
        monkeypatch.setattr(clock, "now", lambda: now + 120)
        session.touch()
        assert [name for name, _ in await listed(service)] == ["new"]
