from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NoReturn
from unittest.mock import patch

import numpy as np
import pytest

from service.engine.job import Job, Outcome, Result
from service.errors import Overloaded, ShuttingDown, StepFailed
from service.journal import Journal
from service.models.repository import Repository
from service.sessions.ownership import SessionKey
from service.sessions.service import Service
from service.sessions.session import MAX_WAITING, Session
from service.sessions.step import Step
from service.sessions.transition import NOTHING_EXPECTED, Expected
from service.tasks.forecast import observe, observe_at_once
from service.tasks.limits import TaskLimits
from tests.known_graphs import FAILING_VALUE
from tests.known_models import RUNNING_SUM
from tests.service.running import DurableJournal, Watch, gated, opened, opens, row_of, running, until

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def session_of(known: Repository, **how: Any) -> AsyncIterator[tuple[Service, Session]]:
    async with running(known, **how) as service:
        yield service, opened(service, RUNNING_SUM, id="s", seed=1)


def column(*values: float) -> Any:
    return np.array(values, np.float32)[:, np.newaxis]


async def taken(session: Session, *values: float, expected: Expected = NOTHING_EXPECTED) -> Outcome | None:
    """What became of a step begun at once; None where it was not begun."""
    told: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    if not observe_at_once(session, column(*values), lambda _, outcome: told.set_result(outcome), expected=expected):
        assert not told.done()
        return None
    assert session.busy and not told.done(), "it is begun and told of later"
    return await told


async def test_position_and_row_move_together_and_the_session_is_free_again(known: Repository) -> None:
    async with session_of(known) as (service, session):
        assert isinstance(await taken(session, 1, 2, 3), Result)
        assert session.position == 3 and np.frombuffer(row_of(service, session), np.float32).tolist() == [3, 0, 3]
        assert not session.busy and not session.pinned


async def test_steps_begun_at_once_end_with_the_same_bits_as_those_that_wait(known: Repository) -> None:
    async with running(known) as service:
        short, long = (opened(service, RUNNING_SUM, id=name, seed=1) for name in ("short", "long"))
        for values in ([1.5], [np.nan, 2.25, 0.1], [7.0]):
            outcome = await taken(short, *values)
            seen = await observe(long, np.array(values, np.float32))
            assert isinstance(outcome, Result)
            assert np.array_equal(outcome.outputs["quantiles"][0], seen.quantiles, equal_nan=True)
            assert np.array_equal(outcome.outputs["pit"][0], seen.pit, equal_nan=True)
        assert row_of(service, short) == row_of(service, long) and short.position == long.position == 5


async def test_a_session_somebody_is_at_is_not_held(known: Repository) -> None:
    async with session_of(known) as (_, session):
        async with session.turn():
            assert await taken(session, 1) is None
        assert isinstance(await taken(session, 1), Result)


async def test_whoever_waits_meanwhile_is_next(known: Repository) -> None:
    async with session_of(known) as (_, session):
        with gated(session.model) as gate:
            gate.close()
            first = asyncio.ensure_future(taken(session, 1, 1))
            await gate.entered()
            second = asyncio.ensure_future(observe(session, np.array([2], np.float32)))
            await until(lambda: bool(session._waiting))
            assert await taken(session, 3) is None
            gate.open()
            assert isinstance(await first, Result) and (await second).start == 2
        assert not session.busy


async def test_steps_that_wait_for_each_other_are_begun_in_turn(known: Repository) -> None:
    async with session_of(known) as (_, session):
        told: list[int] = []
        refused: list[int] = []

        def begin(value: float, expected: Expected = NOTHING_EXPECTED) -> None:
            def then(step: Step, outcome: Outcome) -> None:
                assert isinstance(outcome, Result)
                told.append(step.start)

            if not observe_at_once(session, column(value), then, expected=expected, has_turn=True):
                refused.append(int(value))

        assert not session.call_in_turn(lambda: begin(0)), "nobody is at it: there is nothing to wait for"
        async with session.turn():
            assert session.call_in_turn(lambda: begin(1))
            assert session.call_in_turn(lambda: begin(2, Expected(7)))
            assert session.call_in_turn(lambda: begin(3))
            long = asyncio.ensure_future(observe(session, np.array([4], np.float32)))
            await asyncio.sleep(0)
        assert (await long).start == 2
        assert told == [0, 1] and refused == [2], "who is not where it expects lets go, and asks the long way"
        assert not session.busy


async def test_no_more_wait_than_may(known: Repository) -> None:
    async with session_of(known) as (_, session):
        async with session.turn():
            assert all(session.call_in_turn(session.release) for _ in range(MAX_WAITING))
            assert not session.call_in_turn(session.release)
        await until(lambda: not session.busy)


async def test_a_step_that_fails_changes_nothing_and_lets_go(known: Repository) -> None:
    async with session_of(known) as (service, session):
        await taken(session, 1, expected=Expected(0))
        before, last = row_of(service, session), session.last
        assert isinstance(await taken(session, FAILING_VALUE, expected=Expected(1)), StepFailed)
        assert (session.position, session.last, row_of(service, session)) == (1, last, before)
        assert not session.busy and not session.pinned


@pytest.mark.parametrize(
    "again",
    [Expected(0), Expected(0, "k"), Expected(None, "k"), Expected(7), Expected(1, "k")],
)
async def test_repeats_and_conflicts_are_left_to_whoever_asks_the_long_way(known: Repository, again: Expected) -> None:
    async with session_of(known) as (_, session):
        assert isinstance(await taken(session, 1, expected=Expected(0, "k")), Result)
        assert await taken(session, 1, expected=again) is None
        assert not session.busy and session.position == 1


async def test_a_repeat_gets_what_the_short_way_recorded(known: Repository) -> None:
    async with session_of(known) as (_, session):
        outcome = await taken(session, 1, 2, expected=Expected(0, "k"))
        assert isinstance(outcome, Result)
        seen = await observe(session, np.array([1, 2], np.float32), expected=Expected(0, "k"))
        assert seen.repeated and np.array_equal(seen.quantiles, outcome.outputs["quantiles"][0], equal_nan=True)
        assert seen.quantiles.base is None or seen.quantiles.base is not outcome.run.outputs["quantiles"]


async def test_nothing_is_remembered_for_who_expects_nothing(known: Repository) -> None:
    async with session_of(known) as (_, session):
        await taken(session, 1, expected=Expected(0))
        assert session.last is not None
        await taken(session, 2)
        assert session.last is None


@pytest.mark.parametrize("values", [(), (1, 2, 3, 4)])
async def test_lengths_beyond_the_bounds_are_left_to_the_long_way(known: Repository, values: tuple[float, ...]) -> None:
    limits = TaskLimits(max_steps=3)
    async with session_of(known) as (_, session):
        assert not observe_at_once(session, column(*values), lambda *_: None, limits=limits)
        assert not observe_at_once(session, np.zeros((1, 2), np.float32), lambda *_: None, limits=limits)
        assert not session.busy


async def test_a_closed_session_is_not_held(known: Repository) -> None:
    async with session_of(known) as (service, session):
        await service.store.close(SessionKey("s"))
        assert await taken(session, 1) is None


async def test_a_session_whose_time_is_over_is_not_held(known: Repository) -> None:
    async with session_of(known) as (_, session):
        session.used -= 10_000
        assert await taken(session, 1) is None
        assert not session.busy


async def test_a_step_begins_the_time_to_live_anew(known: Repository) -> None:
    async with session_of(known) as (_, session):
        session.used -= 1000
        before = session.expires
        await taken(session, 1)
        assert session.expires > before + 900


async def test_a_full_engine_is_not_asked_and_counts_nothing(known: Repository) -> None:
    watch = Watch()
    async with session_of(known, watch=watch, queue_limit=1) as (service, session):
        other = opened(service, RUNNING_SUM)
        with gated(session.model) as gate:
            gate.close()
            first = asyncio.ensure_future(taken(session, 1, 1))
            await gate.entered()
            assert await taken(other, 1) is None
            assert not other.busy and watch.events["rejected"] == 0
            gate.open()
            assert isinstance(await first, Result)


async def test_an_engine_that_stops_meanwhile_is_told_of_and_lets_go(known: Repository) -> None:
    async with session_of(known) as (_, session):
        step = Step.hold(session, NOTHING_EXPECTED, b"")
        assert step is not None
        session.engine._stopping = True
        with pytest.raises(ShuttingDown):
            step.carry_out(Job("observe", 1, {"target": np.ones((1, 1), np.float32)}), lambda *_: None)
        step.give_up()
        assert await taken(session, 1) is None
        assert not session.busy and not session.pinned
        session.engine._stopping = False


def _refused(_: object) -> NoReturn:
    raise Overloaded("no row is free")


def _broken(_: object) -> NoReturn:
    raise ZeroDivisionError


async def test_a_session_whose_row_cannot_be_brought_is_let_go_of(known: Repository) -> None:
    async with session_of(known) as (service, session):
        home = service.store.live
        for at_hand in (_refused, lambda _: None):
            with patch.object(home, "slot_of", at_hand):
                assert await taken(session, 1) is None and not session.busy
        with patch.object(home, "slot_of", _broken), pytest.raises(ZeroDivisionError):
            await taken(session, 1)
        assert not session.busy
        assert isinstance(await taken(session, 1), Result)


@pytest.mark.parametrize("expected", [NOTHING_EXPECTED, Expected(0, "k")])
async def test_a_durable_journal_has_the_step_before_it_is_told(known: Repository, expected: Expected) -> None:
    journal: Journal = DurableJournal()
    async with running(known, journal=journal) as service:
        session = await opens(service, RUNNING_SUM, id="s", seed=1)
        assert isinstance(await taken(session, 1, 2, expected=expected), Result)
        entry = journal.load("s")
        assert entry is not None and entry.position == 2 == session.durable_position
        assert entry.row == row_of(service, session)
