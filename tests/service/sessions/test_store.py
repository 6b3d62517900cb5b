from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from unittest.mock import patch

import pytest

from service.errors import (
    InputMismatch,
    Overloaded,
    SessionExists,
    SessionExpired,
    SessionNotFound,
)
from service.journal import clock
from service.models.repository import Repository
from service.sessions.ownership import EVERYONES, SessionKey, Whose
from service.sessions.service import Service
from service.sessions.session import Session
from service.tasks.forecast import observe
from tests.known_models import NEXT_TOKEN, RUNNING_SUM
from tests.service.running import Watch, floats, found, gated, opened, running, until

pytestmark = pytest.mark.anyio


def passed(session: Session, seconds: float) -> None:
    """Let time pass for one session, as far as whoever asks for it sees."""
    session.used -= seconds


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets so many seconds pass for everyone."""
    now, passed = clock.now, [0.0]
    monkeypatch.setattr(clock, "now", lambda: now() + sum(passed))
    return passed.append


# Ids


async def test_a_session_gets_an_id_of_its_own(known: Repository) -> None:
    async with running(known) as service:
        ids = [opened(service, RUNNING_SUM).id for _ in range(10)]
        assert len(set(ids)) == 10 and all(re.fullmatch("[0-9a-f]{32}", id_) for id_ in ids)
        assert all(found(service, id_).id == id_ for id_ in ids)


@pytest.mark.parametrize("wanted", ["a", "meter-7", "A.b_c:d-e", "0" * 128])
async def test_a_client_may_choose_the_id(known: Repository, wanted: str) -> None:
    async with running(known) as service:
        assert opened(service, RUNNING_SUM, id=wanted) is found(service, wanted)


@pytest.mark.parametrize("wanted", ["", "-a", "a/b", "a b", "é", "a\n", "0" * 129, "../x"])
async def test_an_id_that_cannot_be_is_refused(known: Repository, wanted: str) -> None:
    async with running(known) as service:
        with pytest.raises(InputMismatch, match="id: expected letters, digits") as refused:
            opened(service, RUNNING_SUM, id=wanted)
        assert refused.value.parameter == "id" and len(service.store) == 0


async def test_an_id_that_is_taken_is_refused_and_its_session_untouched(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, RUNNING_SUM, id="a")
        await observe(session, floats(1, 2))
        with pytest.raises(SessionExists):
            opened(service, RUNNING_SUM, id="a")
        assert found(service, "a") is session and session.position == 2


async def test_an_unknown_id_is_not_found(known: Repository) -> None:
    async with running(known) as service:
        with pytest.raises(SessionNotFound, match="there is no session 'never'"):
            found(service, "never")


# Life


async def test_an_idle_session_expires_and_says_so(known: Repository) -> None:
    watch = Watch()
    async with running(known, watch, time_to_live_s=60) as service:
        session = opened(service, RUNNING_SUM, id="a")
        await observe(session, floats(1))
        passed(session, 59)
        assert found(service, "a") is session
        passed(session, 2)
        for _ in range(2):
            with pytest.raises(SessionExpired, match="open a new one"):
                found(service, "a")
        assert len(service.store) == 0 and watch.events["expired"] == 1
        assert watch.state_bytes == 0 and session.engine.table.in_use == 0
        assert service.journal.journal.load("a") is None


async def test_use_begins_the_time_to_live_anew(known: Repository) -> None:
    async with running(known, time_to_live_s=60) as service:
        session = opened(service, RUNNING_SUM)
        for _ in range(3):
            passed(session, 50)
            await observe(found(service, session.id), floats(1))
        assert session.position == 3


async def test_an_expired_session_is_gone_also_for_whoever_held_on_to_it(
    known: Repository, later: Callable[[float], None]
) -> None:
    async with running(known) as service:
        session = opened(service, RUNNING_SUM)
        later(4000)
        assert await service.store.sweep() == 1
        with pytest.raises(SessionExpired):
            await observe(session, floats(1))


async def test_a_session_past_its_time_does_not_come_back_by_being_held_on_to(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, RUNNING_SUM)
        passed(session, 4000)
        with pytest.raises(SessionExpired):
            await observe(session, floats(1))


async def test_a_session_in_use_does_not_expire(known: Repository, later: Callable[[float], None]) -> None:
    async with running(known) as service:
        session = opened(service, RUNNING_SUM)
        with gated(session.model) as gate:
            gate.close()
            step = asyncio.create_task(observe(session, floats(1)))
            await gate.entered()
            later(4000)
            assert await service.store.sweep() == 0
            gate.open()
            await step
        assert found(service, session.id).position == 1
        later(4000)
        assert await service.store.sweep() == 1


async def test_an_expired_id_can_be_opened_again_and_starts_anew(known: Repository) -> None:
    async with running(known) as service:
        old = opened(service, RUNNING_SUM, id="a")
        await observe(old, floats(1, 2))
        passed(old, 4000)
        again = opened(service, RUNNING_SUM, id="a")
        assert again is not old and again.position == 0
        assert found(service, "a") is again and len(service.store) == 1
        await service.store.close(SessionKey("a"))
        with pytest.raises(SessionNotFound):
            found(service, "a")


async def test_a_client_may_choose_how_long_a_session_lives(known: Repository) -> None:
    async with running(known, time_to_live_s=60) as service:
        session = opened(service, RUNNING_SUM, time_to_live_s=7200)
        assert session.expires - session.used == 7200
        for wrong in (0, -1, 7201, float("nan"), float("inf")):
            with pytest.raises(InputMismatch, match="time_to_live_s: expected more than 0 and at most 7200"):
                opened(service, RUNNING_SUM, time_to_live_s=wrong)
        assert len(service.store) == 1


async def test_no_more_sessions_than_may_be_are_opened(known: Repository) -> None:
    async with running(known, max_sessions=2) as service:
        first, _ = (opened(service, RUNNING_SUM) for _ in range(2))
        with pytest.raises(Overloaded) as refused:
            opened(service, RUNNING_SUM)
        with pytest.raises(Overloaded):
            await service.store.fork(first.key, None, None)
        assert refused.value.retry_after_s > 0 and len(service.store) == 2
        await service.store.close(first.key)
        opened(service, RUNNING_SUM)


async def test_expired_sessions_make_room(known: Repository, later: Callable[[float], None]) -> None:
    async with running(known, max_sessions=2) as service:
        opened(service, RUNNING_SUM)
        kept = opened(service, RUNNING_SUM, time_to_live_s=7200)
        later(4000)
        opened(service, RUNNING_SUM)
        assert len(service.store) == 2 and found(service, kept.id) is kept


async def test_a_sweep_tells_used_sessions_from_idle_ones(known: Repository, later: Callable[[float], None]) -> None:
    async with running(known) as service:
        used, idle = (opened(service, RUNNING_SUM) for _ in range(2))
        for _ in range(5):
            later(1000)
            await observe(used, floats(1))
            await service.store.sweep()
        assert list(service.store) == [used] and idle.ended == "expired"


async def test_a_sweep_of_very_many_lets_others_in_between(known: Repository, later: Callable[[float], None]) -> None:
    async with running(known, max_sessions=3000) as service:
        sessions = [opened(service, RUNNING_SUM) for _ in range(3000)]
        later(4000)
        sweeping = asyncio.create_task(service.store.sweep())
        await asyncio.sleep(0)
        assert 0 < len(service.store) < len(sessions)
        assert await sweeping == 3000 and len(service.store) == 0


async def test_what_goes_wrong_in_a_sweep_loses_nobody(known: Repository, later: Callable[[float], None]) -> None:
    watch = Watch()
    async with running(known, watch) as service:
        for _ in range(3):
            opened(service, RUNNING_SUM)
        later(4000)
        with patch.object(service.store.live, "forget", side_effect=RuntimeError), pytest.raises(RuntimeError):
            await service.store.sweep()
        later(2)
        assert await service.store.sweep() == 3


# Listing


async def listed(service: Service, limit: int = 9, after: str | None = None) -> list[str]:
    """The ids that a page of nobody's sessions holds."""
    return [session["id"] for session in (await service.pages.page(after, limit, None, Whose(None)))[0]]


async def test_pages_hold_every_session_once_in_order(known: Repository) -> None:
    async with running(known) as service:
        ids = [f"s{number:02}" for number in (5, 3, 9, 1, 7, 0, 8, 2, 6, 4)]
        for id_ in ids:
            opened(service, RUNNING_SUM if int(id_[1:]) % 2 else NEXT_TOKEN, id=id_)
        found: list[str] = []
        after: str | None = None
        while True:
            page, after = await service.pages.page(after, 3, None, Whose(None))
            found += [session["id"] for session in page]
            if after is None:
                break
            assert len(page) == 3
        assert found == sorted(ids)
        odd, more = await service.pages.page(None, 10, RUNNING_SUM, Whose(None))
        assert [session["id"] for session in odd] == ["s01", "s03", "s05", "s07", "s09"] and more is None
        assert await listed(service, 2, after="s04x") == ["s05", "s06"]


async def test_a_page_that_is_just_full_says_that_nothing_follows(known: Repository) -> None:
    async with running(known) as service:
        for id_ in "abc":
            opened(service, RUNNING_SUM, id=id_)
        assert (await service.pages.page(None, 3, None, Whose(None)))[1] is None
        assert (await service.pages.page(None, 2, None, Whose(None)))[1] == "b"


async def test_expired_sessions_are_not_listed(known: Repository) -> None:
    async with running(known) as service:
        sessions = [opened(service, RUNNING_SUM, id=id_) for id_ in "abc"]
        passed(sessions[1], 4000)
        assert await listed(service) == ["a", "c"]


async def test_sessions_that_come_and_go_leave_the_list_in_order(known: Repository) -> None:
    async with running(known) as service:
        for id_ in "edcba":
            opened(service, RUNNING_SUM, id=id_)
        for id_ in "bd":
            await service.store.close(SessionKey(id_))
        assert await listed(service) == ["a", "c", "e"]
        assert sorted(session.id for session in service.store) == ["a", "c", "e"]


# Closing


async def test_a_closed_session_is_gone_with_everything_of_it(known: Repository) -> None:
    watch = Watch()
    async with running(known, watch) as service:
        session = opened(service, RUNNING_SUM, id="a")
        await observe(session, floats(1))
        assert watch.state_bytes == session.engine.table.row_bytes
        await service.store.close(SessionKey("a"))
        with pytest.raises(SessionNotFound):
            found(service, "a")
        with pytest.raises(SessionNotFound):
            await service.store.close(SessionKey("a"))
        with pytest.raises(SessionNotFound, match="was closed"):
            await observe(session, floats(1))
        assert watch.state_bytes == 0 and service.journal.journal.load("a") is None
        assert watch.events["closed"] == 1


async def test_a_session_is_closed_after_what_was_asked_of_it_before(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, RUNNING_SUM, id="a")
        with gated(session.model) as gate:
            gate.close()
            before = asyncio.create_task(observe(session, floats(1)))
            await gate.entered()
            closing = asyncio.create_task(service.store.close(SessionKey("a")))
            await asyncio.sleep(0)
            after = asyncio.create_task(observe(session, floats(2)))
            await until(lambda: len(session._waiting or ()) == 1)
            gate.open()
            assert (await before).position == 1
            await closing
            with pytest.raises(SessionNotFound, match="was closed"):
                await after
        assert session.position == 1


async def test_many_sessions_are_closed_by_choice(known: Repository) -> None:
    async with running(known) as service:
        for id_ in "abcd":
            opened(service, RUNNING_SUM if id_ in "ab" else NEXT_TOKEN, id=id_)
        assert await service.store.close_many(EVERYONES, lambda s: s.model.manifest.name == RUNNING_SUM) == 2
        assert await listed(service) == ["c", "d"]


async def test_closing_many_is_not_stopped_by_one_that_has_just_expired(known: Repository) -> None:
    async with running(known) as service:
        sessions = [opened(service, RUNNING_SUM) for _ in range(3)]
        passed(sessions[1], 4000)
        await service.store.close_many(EVERYONES, lambda session: True)
        assert len(service.store) == 0


async def test_closing_many_is_not_stopped_by_one_that_another_closes(known: Repository) -> None:
    async with running(known) as service:
        sessions = [opened(service, RUNNING_SUM) for _ in range(3)]
        with gated(sessions[0].model) as gate:
            gate.close()
            step = asyncio.create_task(observe(sessions[0], floats(1)))
            await gate.entered()
            alone = asyncio.create_task(service.store.close(sessions[0].key))
            await asyncio.sleep(0)
            many = asyncio.create_task(service.store.close_many(EVERYONES, lambda session: True))
            await asyncio.sleep(0)
            gate.open()
            await asyncio.gather(step, alone)
            assert await many == 2
        assert len(service.store) == 0


async def test_closing_many_closes_what_was_chosen_and_nothing_that_came_later(known: Repository) -> None:
    async with running(known) as service:
        first, second, third = (opened(service, RUNNING_SUM, id=id_) for id_ in "abc")
        async with first.turn(), third.turn():
            many = asyncio.create_task(service.store.close_many(EVERYONES, lambda session: session.position == 0))
            await asyncio.sleep(0)
            assert second.ended == "closed"
            step = asyncio.create_task(observe(third, floats(1)))
            later = opened(service, RUNNING_SUM, id="b")
            await asyncio.sleep(0)
        await step
        assert await many == 2
        assert found(service, "b") is later and found(service, "c") is third


async def test_closing_very_many_lets_others_in_between(known: Repository) -> None:
    async with running(known, max_sessions=3000) as service:
        for _ in range(3000):
            opened(service, RUNNING_SUM)
        many = asyncio.create_task(service.store.close_many(EVERYONES, lambda session: True))
        await asyncio.sleep(0)
        assert 0 < len(service.store) < 3000
        assert await many == 3000


async def test_events_are_told_by_name(known: Repository) -> None:
    watch = Watch()

    async def live(service: Service) -> None:
        parent = opened(service, RUNNING_SUM)
        await service.store.fork(parent.key, None, None)
        await service.store.close(parent.key)

    async with running(known, watch) as service:
        await live(service)
    assert {name: watch.events[name] for name in ("opened", "forked", "closed")} == dict.fromkeys(
        ("opened", "forked", "closed"), 1
    )
