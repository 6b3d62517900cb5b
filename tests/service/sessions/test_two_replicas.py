"""Two services on one journal that both write to: whoever is asked, one step is applied, and both say the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from service.errors import JournalUnavailable, PositionConflict, SessionExists, SessionMoved, SessionNotFound
from service.journal import Journal
from service.journal.codec import Records
from service.journal.location import open_journal
from service.models.repository import Repository
from service.sessions.ownership import SessionKey
from service.sessions.record import Record
from service.sessions.service import Service
from service.sessions.transition import NOTHING_EXPECTED, Expected
from service.tasks import forecast as series
from service.tasks import text
from service.tasks.forecast import Observed, observe_at_once
from tests.known_models import NEXT_TOKEN, RUNNING_SUM
from tests.service.conftest import CALENDAR_SUM
from tests.service.journal.servers import TestServer, running_server
from tests.service.running import DurableJournal, floats, opens, row_of, running

pytestmark = pytest.mark.anyio


class SharedJournal(DurableJournal):
    """One that others write to as well: here, another service of the same process."""

    shared = True


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TestServer]:
    with running_server(tmp_path / "valkey") as server:
        yield server


@pytest.fixture(params=["in memory", "valkey"])
async def replicas(request: pytest.FixtureRequest, known: Repository) -> AsyncIterator[tuple[Service, Service]]:
    if request.param == "valkey":
        location = request.getfixturevalue("server").location
        journals = [open_journal(location, Records(Record)) for _ in range(2)]
    else:
        journals = [SharedJournal()] * 2
    async with both(known, journals) as services:
        yield services


@asynccontextmanager
async def both(known: Repository, journals: list[Journal]) -> AsyncIterator[tuple[Service, Service]]:
    async with AsyncExitStack() as stack:
        a, b = [await stack.enter_async_context(running(known, journal=journal)) for journal in journals]
        yield a, b


Replicas = tuple[Service, Service]


async def step(service: Service, name: str, *values: float, expected: Expected = NOTHING_EXPECTED) -> Observed:
    return await series.observe(await service.store.get(SessionKey(name)), floats(*values), expected=expected)


async def test_any_replica_serves_any_session(replicas: Replicas) -> None:
    await opens(replicas[0], RUNNING_SUM, id="a")
    for number in range(10):
        seen = await step(replicas[number % 2], "a", 1)
        assert seen.position == number + 1 and (number == 0 or seen.quantiles[0, 1] == number)
    rows = {row_of(service, await service.store.get(SessionKey("a"))) for service in replicas[1:]}
    assert len(rows) == 1


@pytest.mark.parametrize("expected", [Expected(0), Expected(None, "k"), Expected(0, "k")])
async def test_the_same_step_sent_to_both_at_once_is_applied_once_and_both_agree(
    replicas: Replicas, expected: Expected
) -> None:
    for number in range(20):
        name = f"s{number}"
        await opens(replicas[0], RUNNING_SUM, id=name)
        await replicas[1].store.get(SessionKey(name))
        first, second = await asyncio.gather(*(step(service, name, 1, 2, expected=expected) for service in replicas))
        assert first.position == second.position == 2 and {first.repeated, second.repeated} == {True, False}
        assert first.quantiles.tobytes() == second.quantiles.tobytes() and first.pit.tobytes() == second.pit.tobytes()


async def test_steps_that_expect_nothing_are_all_applied_whoever_is_faster(replicas: Replicas) -> None:
    await opens(replicas[0], RUNNING_SUM, id="a")
    seen = await asyncio.gather(*(step(replicas[number % 2], "a", 1) for number in range(30)))
    assert sorted(one.position for one in seen) == list(range(1, 31))
    assert [one.quantiles[0, 1] for one in sorted(seen, key=lambda one: one.position)][1:] == list(range(1, 30))


async def test_inputs_that_depend_on_the_position_are_made_anew(replicas: Replicas) -> None:
    """Calendar features and draws belong to where the session stands when the step is applied."""
    facts = {"first_timestamp": np.datetime64("2024-01-01T05:00", "s"), "static": {"offset": 0, "kind": "a"}}
    weather = {"wind": floats(0), "sun": floats(0)}
    alone = await opens(replicas[0], CALENDAR_SUM, id="alone", **facts)
    for _ in range(8):
        await series.observe(alone, floats(1), covariates=weather)
    await opens(replicas[0], CALENDAR_SUM, id="a", **facts)

    async def one(service: Service) -> None:
        await series.observe(await service.store.get(SessionKey("a")), floats(1), covariates=weather)

    await asyncio.gather(*(one(replicas[number % 2]) for number in range(8)))
    assert row_of(replicas[0], await refreshed(replicas[0], "a")) == row_of(replicas[0], alone)


async def refreshed(service: Service, name: str):  # type: ignore[no-untyped-def]
    session = await service.store.get(SessionKey(name))
    async with session.turn(fresh=True):
        return session


async def test_what_a_replica_does_not_know_yet_is_no_conflict(replicas: Replicas) -> None:
    a, b = replicas
    await opens(a, RUNNING_SUM, id="a")
    await step(b, "a", 1)
    for position in range(1, 5):
        await step(a, "a", 1, expected=Expected(position))
    assert (await step(b, "a", 1, expected=Expected(5))).position == 6
    with pytest.raises(PositionConflict, match="it is at 6"):
        await step(a, "a", 1, expected=Expected(2))


async def test_a_forecast_begins_where_the_last_step_ended_wherever_that_was(replicas: Replicas) -> None:
    a, b = replicas
    await opens(a, RUNNING_SUM, id="a")
    await step(b, "a", 1)
    await step(a, "a", 2)
    ahead = [
        await series.forecast(await service.store.get(SessionKey("a")), series.ForecastRequest(3, seed=1))
        for service in replicas
    ]
    assert [one.position for one in ahead] == [2, 2] and ahead[0].mean.tobytes() == ahead[1].mean.tobytes()


async def test_what_one_closes_is_closed_for_all(replicas: Replicas) -> None:
    a, b = replicas
    await opens(a, RUNNING_SUM, id="a")
    await step(b, "a", 1)
    await a.store.close(SessionKey("a"))
    with pytest.raises(SessionNotFound):
        await step(b, "a", 1)
    await opens(b, RUNNING_SUM, id="a")
    assert (await step(a, "a", 1)).position == 1


async def test_an_id_is_opened_by_one(replicas: Replicas) -> None:
    outcomes = await asyncio.gather(
        *(opens(replicas[number % 2], RUNNING_SUM, id="a") for number in range(6)), return_exceptions=True
    )
    assert sum(isinstance(one, SessionExists) for one in outcomes) == 5


async def test_an_id_used_again_elsewhere_is_another_session(replicas: Replicas) -> None:
    a, b = replicas
    await opens(a, RUNNING_SUM, id="a")
    await step(a, "a", 5)
    await step(b, "a", 5)
    await b.store.close(SessionKey("a"))
    await opens(b, RUNNING_SUM, id="a")
    await step(b, "a", 7)
    await step(b, "a", 7)
    # At the same position as what the first replica remembers, but not the same.
    assert (await step(a, "a", 1)).quantiles[0, 1] == 14


async def test_a_step_begun_at_once_is_told_that_it_was_too_late(replicas: Replicas) -> None:
    a, b = replicas
    session = await opens(a, RUNNING_SUM, id="a")
    await step(b, "a", 1)
    told: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    assert observe_at_once(session, floats(2)[:, np.newaxis], lambda _, outcome: told.set_result(outcome))
    assert isinstance(await told, SessionMoved) and not session.busy
    assert (await step(a, "a", 2)).position == 2


async def test_a_text_goes_on_at_the_other_replica(replicas: Replicas, known: Repository) -> None:
    request = text.GenerateRequest(40, temperature=1.5)
    a, b = replicas
    whole = await opens(a, NEXT_TOKEN, id="whole", seed=1)
    pieces = [piece.text async for piece in text.generate(whole, request)]
    await opens(a, NEXT_TOKEN, id="a", seed=1)
    begun = text.generate(await a.store.get(SessionKey("a")), request, expected=Expected(0))
    first = await anext(begun)
    rest = [
        piece.text async for piece in text.generate(await b.store.get(SessionKey("a")), request, expected=Expected(0))
    ]
    assert rest[0] == first.text and "".join(rest) == "".join(pieces)
    # The other replica was faster: what it recorded goes on where this one had come to.
    left = [piece async for piece in begun]
    assert first.text + "".join(piece.text for piece in left) == "".join(pieces) and left[-1].finish_reason == "length"
    assert len(first.tokens) + sum(len(piece.tokens) for piece in left) == 40


async def test_a_text_that_something_else_came_between_is_a_conflict(replicas: Replicas) -> None:
    request = text.GenerateRequest(40, temperature=1.5)
    a, b = replicas
    await opens(a, NEXT_TOKEN, id="a", seed=1)
    known, unknown = (
        text.generate(await a.store.get(SessionKey("a")), request, expected=Expected(0)),
        text.generate(await opens(a, NEXT_TOKEN, id="b"), request),
    )
    for begun, name in ((known, "a"), (unknown, "b")):
        assert (await anext(begun)).tokens
        await text.observe_text(await b.store.get(SessionKey(name)), text="abc")
    with pytest.raises(PositionConflict, match="expected position 0, but it is at"):
        await anext(known)
    with pytest.raises(SessionMoved):  # whose it is cannot be told, and what was delivered stands
        await anext(unknown)


async def test_a_journal_that_cannot_be_reached_acknowledges_nothing_and_comes_back(
    server: TestServer, known: Repository
) -> None:
    location = f"{server.location}?timeout_ms=200"
    async with both(known, [open_journal(location, Records(Record)) for _ in range(2)]) as (a, b):
        await opens(a, RUNNING_SUM, id="a")
        await step(a, "a", 1, expected=Expected(0))
        server.pause()
        with pytest.raises(JournalUnavailable):
            await step(a, "a", 1, expected=Expected(1))
        with pytest.raises(JournalUnavailable):
            await b.store.get(SessionKey("a"))
        assert not a.ready()[0]
        server.go_on()
        for service in (b, a):
            async with asyncio.timeout(10):
                while True:
                    try:
                        seen = await step(service, "a", 1, expected=Expected(1))
                        break
                    except JournalUnavailable:
                        await asyncio.sleep(0.1)
            assert seen.position == 2 and seen.quantiles[0, 1] == 1
        assert (await step(b, "a", 0, expected=Expected(2))).quantiles[0, 1] == 2
        assert a.ready() == (True, [])
