"""Clients that go away at any moment: whatever they were waiting for, the session stays whole and can be used."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from service.contract.manifest import GraphName
from service.models.repository import Repository
from service.sessions.service import Service
from service.sessions.session import Session
from service.sessions.transition import Expected
from service.tasks import forecast as series
from service.tasks import text
from tests.known_models import NEXT_TOKEN, RUNNING_SUM
from tests.service.running import DurableJournal, Watch, floats, found, gated, opens, row_of, running, until
from tests.service.tasks.cycling import collect

pytestmark = pytest.mark.anyio

Act = Callable[[Session, Expected], Coroutine[Any, Any, bytes]]

START = 2
VALUES = floats(*range(100))
REQUEST = text.GenerateRequest(40, temperature=1.5)


async def observe(session: Session, expected: Expected) -> bytes:
    seen = await series.observe(session, VALUES, expected=expected)
    return seen.quantiles.tobytes() + seen.pit.tobytes()


async def draw(session: Session, expected: Expected) -> bytes:
    return (await series.generate(session, 30, expected=expected)).values.tobytes()


async def write(session: Session, expected: Expected) -> bytes:
    return (await text.observe_text(session, text="abc" * 30, expected=expected)).log_probabilities.tobytes()


async def tell(session: Session, expected: Expected) -> bytes:
    return (await collect(text.generate(session, REQUEST, expected=expected))).text.encode()


async def answer(session: Session, expected: Expected) -> bytes:
    prompt = text.tokens_of(session.model, "hello" * 5, None)
    return (await collect(text.generate(session, REQUEST, prompt=prompt, expected=expected))).text.encode()


def telling(**controls: Any) -> Act:
    """`answer` with more controls."""

    async def tell_so(session: Session, expected: Expected) -> bytes:
        prompt = text.tokens_of(session.model, "hello" * 5, None)
        request = replace(REQUEST, **controls)
        return (await collect(text.generate(session, request, prompt=prompt, expected=expected))).text.encode()

    return tell_so


SEARCHES = (telling(best_of=3), telling(beams=2, temperature=1.0))
ACTS = [
    (RUNNING_SUM, observe),
    (RUNNING_SUM, draw),
    (NEXT_TOKEN, write),
    (NEXT_TOKEN, tell),
    (NEXT_TOKEN, answer),
    (NEXT_TOKEN, telling(stop=("xy", "q"))),
    (NEXT_TOKEN, telling(min_p=0.01, frequency_penalty=0.5, stop=("xy",))),
    (NEXT_TOKEN, telling(logprobs=2)),
    (NEXT_TOKEN, telling(constraint=text.Constraint("regex", "([a-m]{3}z)+"))),
    *((NEXT_TOKEN, act) for act in SEARCHES),
]
ATOMIC = (observe, draw, write)
RUNNING: dict[str, tuple[GraphName, ...]] = {
    RUNNING_SUM: ("observe", "generate"),
    NEXT_TOKEN: ("observe", "generate", "predict"),
}


async def begun(service: Service, model: str) -> Session:
    """A session of a known seed at position START."""
    session = await opens(service, model, seed=1)
    if model == RUNNING_SUM:
        await series.observe(session, floats(0.5, 0.25))
    else:
        await text.observe_text(session, text="ab")
    return session


async def undisturbed(known: Repository, model: str, act: Act) -> tuple[bytes, bytes, int]:
    async with running(known) as service:
        session = await begun(service, model)
        return await act(session, Expected(START)), row_of(service, session), session.position


async def hang_up(task: asyncio.Task[Any]) -> bool:
    """Cancel; returns whether the answer had come before."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return not task.cancelled()


@pytest.mark.parametrize(("model", "act"), ACTS)
async def test_a_client_may_go_away_at_any_moment_and_ask_again(known: Repository, model: str, act: Act) -> None:
    expected_answer, expected_row, expected_position = await undisturbed(known, model, act)
    async with running(known, journal=DurableJournal()) as service:
        for moment in range(40):
            session = await begun(service, model)
            before = row_of(service, session)
            task = asyncio.create_task(act(session, Expected(START)))
            for _ in range(moment):
                # Real time passes on the engine's thread meanwhile.
                await asyncio.sleep(0 if moment < 10 else 0.0002)
            await hang_up(task)
            await until(lambda session=session: not session.busy)  # type: ignore[misc]
            if act in ATOMIC:
                whole = {START: before, expected_position: expected_row}
                assert whole[session.position] == row_of(service, session)
            entry = service.journal.journal.load(session.id)
            assert entry is not None
            assert (entry.position, entry.row) == (session.position, row_of(service, session))

            assert await act(session, Expected(START)) == expected_answer
            assert (session.position, row_of(service, session)) == (expected_position, expected_row)
            await service.store.close(session.key)


@pytest.mark.parametrize(("model", "act"), ACTS)
async def test_a_client_that_goes_away_while_waiting_for_its_turn_does_nothing(
    known: Repository, model: str, act: Act
) -> None:
    async with running(known) as service:
        session = await begun(service, model)
        before = row_of(service, session)
        async with session.turn():
            task = asyncio.create_task(act(session, Expected(START)))
            await asyncio.sleep(0)
            assert not await hang_up(task)
        assert not session.busy and (session.position, row_of(service, session)) == (START, before)


@pytest.mark.parametrize(("model", "act"), ACTS)
async def test_a_client_that_goes_away_before_its_run_does_nothing(known: Repository, model: str, act: Act) -> None:
    watch = Watch()
    async with running(known, watch) as service:
        session, other = await begun(service, model), await begun(service, model)
        before = row_of(service, session)
        with gated(session.model, *RUNNING[session.model.manifest.name]) as gate:
            gate.close()
            blocking = asyncio.create_task(act(other, Expected(START)))
            await gate.entered()
            task = asyncio.create_task(act(session, Expected(START)))
            await asyncio.sleep(0)
            assert not await hang_up(task)
            gate.open()
            await blocking
        await until(lambda: not session.busy)
        assert (session.position, row_of(service, session)) == (START, before)
        assert act in SEARCHES or all(rows == 1 for _, rows, _ in watch.runs)


@pytest.mark.parametrize(("model", "act"), ACTS)
async def test_a_client_that_goes_away_during_its_run_leaves_the_session_whole(
    known: Repository, model: str, act: Act
) -> None:
    expected_answer, expected_row, _ = await undisturbed(known, model, act)
    async with running(known) as service:
        session = await begun(service, model)
        before = row_of(service, session)
        with gated(session.model, *RUNNING[session.model.manifest.name]) as gate:
            gate.close()
            task = asyncio.create_task(act(session, Expected(START)))
            await gate.entered()
            assert not await hang_up(task)
            assert session.busy
            gate.open()
        await until(lambda: not session.busy)
        assert (session.position, row_of(service, session)) == (START, before)
        assert await act(session, Expected(START)) == expected_answer
        assert row_of(service, session) == expected_row


async def test_closing_a_session_may_be_given_up(known: Repository) -> None:
    async with running(known) as service:
        session = await begun(service, RUNNING_SUM)
        async with session.turn():
            task = asyncio.create_task(service.store.close(session.key))
            await asyncio.sleep(0)
            assert not await hang_up(task)
        assert found(service, session.id) is session and not session.busy


async def test_forking_a_session_may_be_given_up(known: Repository) -> None:
    async with running(known) as service:
        session = await begun(service, RUNNING_SUM)
        async with session.turn():
            task = asyncio.create_task(service.store.fork(session.key, "fork", None))
            await asyncio.sleep(0)
            assert not await hang_up(task)
        assert len(service.store) == 1 and not session.busy
