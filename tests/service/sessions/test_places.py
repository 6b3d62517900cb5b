"""Forks that begin where a session stood before."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from service.errors import InputMismatch, PositionConflict, SessionNotFound
from service.journal import Journal
from service.journal.memory import MemoryJournal
from service.models.repository import Repository
from service.sessions.ownership import EVERYONES, SessionKey
from service.sessions.places import MAX_CHECKPOINTS, TURN_ENDS, Place
from service.sessions.service import Service
from service.sessions.session import Session
from service.tasks.text import GenerateRequest, generate, observe_text
from tests.known_models import NEXT_TOKEN
from tests.service.running import DurableJournal, opens, row_of, running
from tests.service.tasks.cycling import collect

pytestmark = pytest.mark.anyio

JOURNALS = [MemoryJournal, DurableJournal]
SPOKEN = ["abc", "xyz", "hello", "q"]


async def exact(service: Service, text: str) -> bytes:
    """The row of a session that has observed a text."""
    session = await opens(service, NEXT_TOKEN)
    if text:
        await observe_text(session, text=text)
    return row_of(service, session)


async def save(service: Service, session: Session, name: str) -> None:
    async with session.turn() as turn:
        await service.store.checkpoints.save(turn, name)


async def names(service: Service, session: Session) -> list[tuple[str, int]]:
    return await service.store.checkpoints.of(session)


async def test_a_fork_stands_where_any_of_the_last_turns_ended(known: Repository) -> None:
    async with running(known) as service:
        session = await opens(service, NEXT_TOKEN)
        for part in SPOKEN:
            await observe_text(session, text=part)
        for count in range(len(SPOKEN) + 1):
            text = "".join(SPOKEN[:count])
            fork = await service.store.fork(session.key, None, None, Place(position=len(text)))
            assert fork.position == len(text) and row_of(service, fork) == await exact(service, text)
        assert session.position == len("".join(SPOKEN))


async def test_a_turn_may_be_taken_again_with_another_seed_or_the_same(known: Repository) -> None:
    """Regenerating: a fork from before the answer."""
    async with running(known) as service:
        session = await opens(service, NEXT_TOKEN, seed=1)
        await observe_text(session, text="abc")
        request = GenerateRequest(30, temperature=2, frequency_penalty=1)
        told = await collect(generate(session, request))
        same = await service.store.fork(session.key, None, session.seed, Place(position=3))
        other = await service.store.fork(session.key, None, 2, Place(position=3))
        assert (await collect(generate(same, request))).tokens == told.tokens
        assert (await collect(generate(other, request))).tokens != told.tokens
        assert row_of(service, same) == row_of(service, session)


async def test_a_position_that_is_not_kept_is_told_the_nearest(known: Repository) -> None:
    async with running(known) as service:
        session = await opens(service, NEXT_TOKEN)
        for part in SPOKEN:
            await observe_text(session, text=part)
        with pytest.raises(PositionConflict, match="the nearest is 6; kept are 0, 3, 6, 11, 12") as conflict:
            await service.store.fork(session.key, None, None, Place(position=7))
        assert (conflict.value.nearest, conflict.value.position) == (6, 12)
        assert len(service.store) == 1


async def test_only_the_last_turn_ends_are_kept(known: Repository) -> None:
    async with running(known) as service:
        session = await opens(service, NEXT_TOKEN)
        for _ in range(TURN_ENDS + 3):
            await observe_text(session, text="a")
        kept = [kept.position for kept in service.store.live.turn_ends.of(session)]
        assert kept == list(range(3, TURN_ENDS + 3))


async def test_turn_ends_take_no_more_memory_than_they_may(known: Repository) -> None:
    async with running(known) as service:
        ends, sessions = service.store.live.turn_ends, [await opens(service, NEXT_TOKEN) for _ in range(5)]
        ends._most = 3 * 2 * 8
        for session in sessions:
            await observe_text(session, text="a")
            await observe_text(session, text="a")
        assert [len(ends.of(session)) for session in sessions] == [0, 0, 2, 2, 2]
        await service.store.close(sessions[3].key)
        assert ends._bytes == 2 * 2 * 8


async def test_another_session_under_the_same_id_has_no_places_of_the_first(known: Repository) -> None:
    async with running(known) as service:
        session = await opens(service, NEXT_TOKEN, id="a")
        await observe_text(session, text="abc")
        await save(service, session, "here")
        await service.store.close(SessionKey("a"))
        again = await opens(service, NEXT_TOKEN, id="a")
        await observe_text(again, text="xyzxyz")
        with pytest.raises(PositionConflict):
            await service.store.fork(SessionKey("a"), None, None, Place(position=3))
        with pytest.raises(InputMismatch, match="none named 'here'"):
            await service.store.fork(SessionKey("a"), None, None, Place(checkpoint="here"))


@pytest.mark.parametrize("journal", JOURNALS)
async def test_a_checkpoint_is_forked_from_however_far_the_session_has_gone(
    known: Repository, journal: Callable[[], Journal]
) -> None:
    async with running(known, journal=journal()) as service:
        session = await opens(service, NEXT_TOKEN)
        await observe_text(session, text="hello")
        await save(service, session, "greeting")
        for _ in range(2 * TURN_ENDS):
            await observe_text(session, text="a")
        for _ in range(2):
            fork = await service.store.fork(session.key, None, None, Place(checkpoint="greeting"))
            assert fork.position == 5 and row_of(service, fork) == await exact(service, "hello")
        assert await names(service, fork) == [] and await names(service, session) == [("greeting", 5)]


@pytest.mark.parametrize("journal", JOURNALS)
async def test_a_checkpoint_is_replaced_removed_and_gone_with_its_session(
    known: Repository, journal: Callable[[], Journal]
) -> None:
    async with running(known, journal=journal()) as service:
        session = await opens(service, NEXT_TOKEN, id="a")
        await observe_text(session, text="abc")
        await save(service, session, "one")
        await save(service, session, "two")
        await observe_text(session, text="d")
        await save(service, session, "one")
        assert await names(service, session) == [("one", 4), ("two", 3)]
        assert (await service.store.fork(SessionKey("a"), None, None, Place(checkpoint="one"))).position == 4
        await service.store.checkpoints.remove(session, "two")
        with pytest.raises(InputMismatch, match="none named 'two'; known are one"):
            await service.store.fork(SessionKey("a"), None, None, Place(checkpoint="two"))
        assert service.journal.journal.load(SessionKey("a@")) is not None
        await service.store.close(SessionKey("a"))
        assert service.journal.journal.load(SessionKey("a@")) is None


async def test_checkpoints_outlive_the_memory_of_their_session_and_are_in_no_list(known: Repository) -> None:
    journal = DurableJournal()
    async with running(known, journal=journal) as service:
        session = await opens(service, NEXT_TOKEN, id="a")
        await observe_text(session, text="abc")
        await save(service, session, "here")
        await observe_text(session, text="def")
    async with running(known, journal=journal) as service:
        fork = await service.store.fork(SessionKey("a"), "b", None, Place(checkpoint="here"))
        assert fork.position == 3
        assert await names(service, await service.store.get(SessionKey("a"))) == [("here", 3)]
        found, _ = await service.pages.page(None, 10, None, EVERYONES)
        assert {one["id"] for one in found} == {"a", "b"}
        with pytest.raises(SessionNotFound):
            await service.store.get(SessionKey("a@"))


@pytest.mark.parametrize("name", ["", "a b", "a@b", "a/b", "x" * 65])
async def test_a_name_that_cannot_be_is_refused(known: Repository, name: str) -> None:
    async with running(known) as service:
        session = await opens(service, NEXT_TOKEN)
        with pytest.raises(InputMismatch, match="name: expected letters"):
            await save(service, session, name)


async def test_a_session_has_only_so_many_checkpoints(known: Repository) -> None:
    async with running(known) as service:
        session = await opens(service, NEXT_TOKEN)
        for number in range(MAX_CHECKPOINTS):
            await save(service, session, f"n{number}")
        await save(service, session, "n3")
        with pytest.raises(InputMismatch, match="no more may be"):
            await save(service, session, "another")
