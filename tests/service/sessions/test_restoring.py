"""Sessions that outlive their process: taken from a real file on first use, and going on with the same bits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.errors import PositionConflict, SessionExists, SessionExpired, SessionNotFound, VersionGone
from service.journal import Journal, clock
from service.journal.codec import Records
from service.journal.location import open_journal
from service.models.device import Device
from service.models.repository import Repository
from service.sessions.ownership import SessionKey
from service.sessions.record import Record
from service.sessions.service import Service
from service.sessions.transition import Expected
from service.tasks import forecast as series
from service.tasks import text
from tests.known_models import NEXT_TOKEN, RUNNING_SUM, running_sum
from tests.service.conftest import CALENDAR_SUM, NEXT_BYTE
from tests.service.running import Watch, floats, opens, row_of, running, until

pytestmark = pytest.mark.anyio

Start = Callable[..., AbstractAsyncContextManager[Service]]
FIRST = np.datetime64("2024-01-01T05:00", "s")


def journal_at(path: Path) -> Journal:
    return open_journal(f"sqlite://{path}", Records(Record))


@pytest.fixture
def start(known: Repository, tmp_path: Path) -> Start:
    """Starts a service on one file, again and again."""

    @asynccontextmanager
    async def started(models: Any = known, **how: Any) -> AsyncIterator[Service]:
        async with running(models, journal=journal_at(tmp_path / "sessions.db"), **how) as service:
            yield service

    return started


async def test_a_session_is_restored_whole_when_it_is_first_asked_for(start: Start) -> None:
    async with start() as service:
        session = await opens(
            service,
            CALENDAR_SUM,
            id="a",
            seed=7,
            first_timestamp=FIRST,
            static={"offset": 3, "kind": "b"},
            time_to_live_s=900.0,
        )
        wind = {"wind": floats(1, 2), "sun": floats(0, 1)}
        await series.observe(session, floats(1, 2), covariates=wind, expected=Expected(0, "k"))
        before, row = session.describe(), row_of(service, session)
    watch = Watch()
    async with start(watch=watch) as service:
        assert len(service.store) == 0 and service.store.find(SessionKey("a")) is None
        again = await service.store.get(SessionKey("a"))
        assert again.describe() | {"expires": 0} == before | {"restored": True, "expires": 0}
        assert row_of(service, again) == row and again.last is not None and again.last.key == "k"
        assert before["expires"] - 1 < again.expires <= before["expires"] + 1
        assert await service.store.get(SessionKey("a")) is again and watch.events["restored"] == 1


async def act(service: Service, name: str, step: int) -> bytes:
    """One step of a session, and its answer's bits."""
    session = await service.store.get(SessionKey(name))
    if session.model.manifest.text is not None:
        request = text.GenerateRequest(5, temperature=1.3)
        return repr([(piece.text, piece.tokens) async for piece in text.generate(session, request)]).encode()
    if step % 3 == 2:
        return (await series.generate(session, 3)).values.tobytes()
    seen = await series.observe(session, floats(step, np.nan, 0.1 * step))
    ahead = await series.forecast(session, series.ForecastRequest(3))
    return seen.quantiles.tobytes() + seen.pit.tobytes() + ahead.mean.tobytes()


async def test_answers_are_those_of_a_service_that_was_never_stopped(start: Start, known: Repository) -> None:
    models = (RUNNING_SUM, NEXT_TOKEN, NEXT_BYTE)
    async with running(known) as service:
        for name in models:
            await opens(service, name, id=name, seed=1)
        whole = [await act(service, name, step) for step in range(6) for name in models]
        rows = [row_of(service, session) for session in service.store]
    async with start() as service:
        for name in models:
            await opens(service, name, id=name, seed=1)
    parts = []
    for step in range(6):
        async with start() as service:
            parts += [await act(service, name, step) for name in models]
            assert step < 5 or [row_of(service, await service.store.get(SessionKey(name))) for name in models] == rows
    assert parts == whole


async def test_one_answer_says_that_the_session_was_restored(start: Start) -> None:
    async with start() as service:
        for name in (RUNNING_SUM, NEXT_TOKEN):
            await opens(service, name, id=name)
    async with start() as service:
        session, writing = [await service.store.get(SessionKey(name)) for name in (RUNNING_SUM, NEXT_TOKEN)]
        assert [(await series.observe(session, floats(1))).restored for _ in range(2)] == [True, False]
        pieces = [piece.restored async for piece in text.generate(writing, text.GenerateRequest(40))]
        assert pieces == [True, False, False] and session.describe()["restored"]


async def test_the_same_request_after_a_restart_gets_the_recorded_answer(start: Start) -> None:
    async with start() as service:
        session = await opens(service, RUNNING_SUM, id="a")
        told = await series.observe(session, floats(1, 2), expected=Expected(0, "k"))
        assert told.durable_position == 2
    async with start() as service:
        session = await service.store.get(SessionKey("a"))
        again = await series.observe(session, floats(1, 2), expected=Expected(0, "k"))
        assert again.repeated and again.quantiles.tobytes() == told.quantiles.tobytes()
        with pytest.raises(PositionConflict, match="was used before with another request"):
            await series.observe(session, floats(1, 3), expected=Expected(0))
        with pytest.raises(PositionConflict) as ahead:
            await series.observe(session, floats(1), expected=Expected(5))
        assert (ahead.value.position, ahead.value.durable_position, session.position) == (2, 2, 2)


async def test_a_text_cut_short_by_a_restart_goes_on_when_asked_again(start: Start, known: Repository) -> None:
    request = text.GenerateRequest(53, temperature=1.5)
    async with running(known) as service:
        session = await opens(service, NEXT_BYTE, seed=1)
        whole = "".join([piece.text async for piece in text.generate(session, request)])
    async with start() as service:
        session = await opens(service, NEXT_BYTE, id="a", seed=1)
        pieces = text.generate(session, request, expected=Expected(0))
        await anext(pieces)
    async with start() as service:
        session = await service.store.get(SessionKey("a"))
        assert 0 < session.position < 53
        rest = [piece.text async for piece in text.generate(session, request, expected=Expected(0))]
        assert "".join(rest) == whole


async def test_an_unknown_a_closed_and_an_expired_session_are_told_apart(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with start() as service:
        for name, seconds in (("closed", 100.0), ("expired", 100.0), ("alive", 5000.0)):
            await opens(service, RUNNING_SUM, id=name, time_to_live_s=seconds)
        await service.store.close(SessionKey("closed"))
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now + 200)
    async with start() as service:
        for name in ("never", "closed", "/?"):
            with pytest.raises(SessionNotFound, match="there is no session"):
                await service.store.get(SessionKey(name))
        with pytest.raises(SessionExpired, match="open a new one"):
            await service.store.get(SessionKey("expired"))
        assert (await service.store.get(SessionKey("alive"))).position == 0


async def test_an_id_that_only_the_journal_knows_is_taken(start: Start) -> None:
    async with start() as service:
        await opens(service, RUNNING_SUM, id="a")
    async with start() as service:
        for durability in ("sync", "async", "none"):
            with pytest.raises(SessionExists):
                await opens(service, RUNNING_SUM, id="a", durability=durability)
        await service.store.close(SessionKey("a"))
        assert (await opens(service, RUNNING_SUM, id="a")).restored is False


async def test_of_many_who_open_the_same_id_at_once_one_does(start: Start) -> None:
    async with start() as service:
        opening = (opens(service, RUNNING_SUM, id="a") for _ in range(10))
        outcomes = await asyncio.gather(*opening, return_exceptions=True)
        assert sum(isinstance(one, SessionExists) for one in outcomes) == 9 and len(service.store) == 1


async def test_many_who_ask_at_once_get_the_same_session(start: Start) -> None:
    async with start() as service:
        await opens(service, RUNNING_SUM, id="a")
    async with start() as service:
        found = await asyncio.gather(*(service.store.get(SessionKey("a")) for _ in range(20)))
        assert len(set(map(id, found))) == 1 and len(service.store) == 1


async def test_a_session_whose_version_is_gone_says_so_and_can_still_be_closed(start: Start, tmp_path: Path) -> None:
    running_sum(tmp_path / "models", version=1)
    async with start(tmp_path / "models") as service:
        await opens(service, RUNNING_SUM, id="a")
    (tmp_path / "models" / RUNNING_SUM / "1").rename(tmp_path / "aside")
    running_sum(tmp_path / "models", version=2)
    async with start(tmp_path / "models") as service:
        with pytest.raises(VersionGone, match="on model running-sum/1.*migrate.*open a new session"):
            await service.store.get(SessionKey("a"))
        await service.store.close(SessionKey("a"))
        with pytest.raises(SessionNotFound):
            await service.store.get(SessionKey("a"))


async def test_a_version_that_was_replaced_by_another_of_its_number_is_another(start: Start, tmp_path: Path) -> None:
    running_sum(tmp_path / "models")
    async with start(tmp_path / "models") as service:
        await opens(service, RUNNING_SUM, id="a")
    running_sum(tmp_path / "others", minimum_batch=1, calendar=("hour_of_day",))
    (tmp_path / "models" / RUNNING_SUM).rename(tmp_path / "aside")
    (tmp_path / "others" / RUNNING_SUM).rename(tmp_path / "models" / RUNNING_SUM)
    async with start(Repository(tmp_path / "models", Device("cpu"))) as service:
        with pytest.raises(VersionGone, match="other graphs or weights"):
            await service.store.get(SessionKey("a"))


async def test_sessions_that_find_no_room_in_memory_wait_in_the_journal(start: Start, known: Repository) -> None:
    """Every session's last answer is what it would have been without the others."""
    names = [f"s{number}" for number in range(12)]
    watch = Watch()
    async with start(watch=watch, max_sessions=3, resident_sessions=2) as service:
        for name in names:
            await opens(service, RUNNING_SUM, id=name)
        for value in range(4):
            for number, name in enumerate(names):
                session = await service.store.get(SessionKey(name))
                await series.observe(session, floats(value * number))
                assert len(service.store) <= 3
        for number, name in enumerate(names):
            seen = await series.observe(await service.store.get(SessionKey(name)), floats(0))
            assert seen.quantiles[0, 1] == 6 * number and seen.position == 5
        assert watch.events["left"] > 40 and watch.events["rejected"] == 0


async def test_more_than_may_be_in_memory_are_opened_at_once_and_make_room_after(start: Start) -> None:
    async with start(max_sessions=3) as service:
        await asyncio.gather(*(opens(service, RUNNING_SUM, id=f"s{number}") for number in range(40)))
        await opens(service, RUNNING_SUM, id="more")
        assert len(service.store) <= 3
        for number in range(40):
            assert (await service.store.get(SessionKey(f"s{number}"))).position == 0


async def test_who_holds_a_session_that_left_memory_is_served_all_the_same(start: Start) -> None:
    async with start(max_sessions=1) as service:
        held = await opens(service, RUNNING_SUM, id="held")
        await series.observe(held, floats(1, 2))
        await opens(service, RUNNING_SUM, id="other")
        assert service.store.find(SessionKey("held")) is None
        assert (await series.observe(held, floats(3))).position == 3
        assert (await service.store.get(SessionKey("held"))).position == 3


# Durability


async def test_what_is_not_to_be_kept_is_not_and_costs_no_commit(start: Start) -> None:
    watch = Watch()
    async with start(watch=watch) as service:
        session = await opens(service, RUNNING_SUM, id="a", durability="none")
        seen = await series.observe(session, floats(1, 2))
        assert (seen.position, seen.durable_position) == (2, 0) and watch.events["commits"] == 0
        await service.store.close(SessionKey("a"))
        await opens(service, RUNNING_SUM, id="b", durability="none")
    async with start() as service:
        for name in "ab":
            with pytest.raises(SessionNotFound):
                await service.store.get(SessionKey(name))


async def test_rows_that_are_not_kept_are_kept_once_they_have_to_leave(start: Start) -> None:
    async with start(resident_sessions=2) as service:
        sessions = [await opens(service, RUNNING_SUM, id=name, durability="none") for name in "abcde"]
        for value in (1, 2, 3):
            for number, session in enumerate(sessions):
                await series.observe(session, floats(value * number))
        for number, session in enumerate(sessions):
            assert (await series.observe(session, floats(0))).quantiles[0, 1] == 6 * number
        assert any(session.durable_position == 4 for session in sessions)


async def test_the_durable_position_follows_what_nobody_waited_for(start: Start) -> None:
    async with start() as service:
        session = await opens(service, RUNNING_SUM, id="a", durability="async")
        for step in range(20):
            seen = await series.observe(session, floats(1))
            assert seen.durable_position <= seen.position == step + 1
        await until(lambda: session.durable_position == 20)
    async with start() as service:
        again = await service.store.get(SessionKey("a"))
        assert again.position == 20 and again.durability == "async"


async def test_an_asynchronous_session_may_leave_memory_at_any_time(start: Start) -> None:
    async with start(resident_sessions=1, max_sessions=2) as service:
        for name in "abc":
            await opens(service, RUNNING_SUM, id=name, durability="async")
        for step in range(10):
            for name in "abc":
                seen = await series.observe(await service.store.get(SessionKey(name)), floats(1))
                assert seen.position == step + 1 and (step == 0 or seen.quantiles[0, 1] == step)


# Time


async def test_a_use_that_commits_nothing_lets_a_session_live_on_in_the_journal(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = clock.now()
    passed = [0.0]
    monkeypatch.setattr(clock, "now", lambda: now + passed[0])
    async with start() as service:
        session = await opens(service, RUNNING_SUM, id="a", time_to_live_s=100.0)
        await series.observe(session, floats(1))
        passed[0] = 90
        await series.forecast(session, series.ForecastRequest(2))
        await service.store.live.tell_journal()
    passed[0] = 150
    async with start() as service:
        assert (await service.store.get(SessionKey("a"))).position == 1


async def test_what_expires_in_memory_is_told_from_what_never_was(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = clock.now()
    passed = [0.0]
    async with start() as service:
        monkeypatch.setattr(clock, "now", lambda: now + passed[0])
        await opens(service, RUNNING_SUM, id="a", time_to_live_s=100.0)
        passed[0] = 101
        assert await service.store.sweep() == 1
        await service.store.live.tell_journal()
        for _ in range(2):
            with pytest.raises(SessionExpired):
                await service.store.get(SessionKey("a"))
        assert (await opens(service, RUNNING_SUM, id="a")).position == 0
