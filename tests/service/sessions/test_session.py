from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator, Callable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from typing import Literal

import numpy as np
import pytest
from msgspec.structs import replace

from service.engine.job import Job, Result
from service.errors import (
    Overloaded,
    PositionConflict,
    SessionExpired,
    SessionNotFound,
    ShuttingDown,
    StepFailed,
    UnrollError,
)
from service.journal import Entry
from service.models.repository import Repository
from service.sessions.record import Record
from service.sessions.service import Service
from service.sessions.session import MAX_WAITING, Session
from service.sessions.transition import NOTHING_EXPECTED, Expected, Transition
from tests.known_graphs import FAILING_VALUE
from tests.known_models import NEXT_TOKEN, RUNNING_SUM
from tests.service.running import DurableJournal, gated, opened, opens, row_of, running, until

pytestmark = pytest.mark.anyio


def steps(*values: float) -> Job:
    return Job("observe", len(values), {"target": np.array([values], np.float32)})


def recording(session: Session, key: str | None = None, digest: bytes = b"digest") -> Callable[[Result], Record]:
    """What a task would have the session remember."""
    start = session.position

    def record(result: Result) -> Record:
        transition = Transition(start, result.steps, key, digest, result.outputs, complete=True)
        return replace(session.record, position=transition.position, last=transition)

    return record


async def step(session: Session, *values: float, key: str | None = None, digest: bytes = b"digest") -> Result:
    async with session.turn() as turn:
        return await turn.commit(steps(*values), recording(session, key, digest))


@asynccontextmanager
async def session_of(known: Repository, model: str = RUNNING_SUM) -> AsyncIterator[tuple[Service, Session]]:
    async with running(known) as service:
        yield service, opened(service, model, id="s", seed=1)


async def test_position_and_row_move_together(known: Repository) -> None:
    async with session_of(known) as (service, session):
        await step(session, 1, 2, 3)
        assert session.position == 3 and np.frombuffer(row_of(service, session), np.float32).tolist() == [3, 0, 3]


async def test_a_failed_step_leaves_position_row_and_memory_unchanged(known: Repository) -> None:
    async with session_of(known) as (service, session):
        await step(session, 1, 2)
        before, last = row_of(service, session), session.last
        with pytest.raises(StepFailed):
            await step(session, FAILING_VALUE)
        assert (session.position, session.last, row_of(service, session)) == (2, last, before)
        assert not session.busy


async def test_turns_are_taken_in_the_order_they_are_asked_for(known: Repository) -> None:
    async with session_of(known) as (_, session):
        order: list[int] = []

        async def one(number: int) -> None:
            async with session.turn() as turn:
                order.append(number)
                await turn.commit(steps(number), recording(session))

        await asyncio.gather(*(one(number) for number in range(20)))
        assert order == list(range(20)) and session.position == 20


async def test_too_many_requests_at_one_session_are_refused(known: Repository) -> None:
    async with session_of(known) as (_, session):
        with gated(session.model) as gate:
            gate.close()
            first = asyncio.create_task(step(session, 1))
            await gate.entered()
            waiting = [asyncio.create_task(step(session, 1)) for _ in range(MAX_WAITING)]
            await asyncio.sleep(0)
            with pytest.raises(Overloaded, match="send them one by one"):
                await step(session, 1)
            gate.open()
            await asyncio.gather(first, *waiting)
        assert session.position == 1 + MAX_WAITING
        await step(session, 1)


async def test_whoever_stops_waiting_for_a_turn_leaves_no_trace(known: Repository) -> None:
    async with session_of(known) as (_, session):
        with gated(session.model) as gate:
            gate.close()
            first = asyncio.create_task(step(session, 1))
            await gate.entered()
            gone, after = (asyncio.create_task(step(session, 1)) for _ in range(2))
            await asyncio.sleep(0)
            gone.cancel()
            gate.open()
            await asyncio.gather(first, after)
        assert gone.cancelled() and session.position == 2 and not session.busy


async def test_whoever_stops_waiting_as_the_turn_before_ends_leaves_no_trace_either(known: Repository) -> None:
    async with session_of(known) as (_, session):
        async with session.turn():
            waiting = asyncio.ensure_future(step(session, 1))
            await asyncio.sleep(0)
            waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await step(session, 2)
        assert session.position == 1 and not session.busy


async def test_a_turn_ends_only_when_the_engine_has_decided(known: Repository) -> None:
    """Who hangs up during a run does not let the next one in before that run's fate is known."""
    async with session_of(known) as (_, session):
        with gated(session.model) as gate:
            gate.close()
            gone = asyncio.create_task(step(session, 5))
            await gate.entered()
            gone.cancel()
            with pytest.raises(asyncio.CancelledError):
                await gone
            assert session.busy
            after = asyncio.create_task(step(session, 7))
            await asyncio.sleep(0.01)
            assert not after.done()
            gate.open()
            await after
        # Cancelled while its run was on, the first was not committed.
        assert session.position == 1 and not session.busy


async def test_a_cancelled_step_that_had_been_committed_is_remembered(known: Repository) -> None:
    async with running(known, journal=DurableJournal()) as service:
        session = await opens(service, RUNNING_SUM)
        committed = asyncio.Event()
        commit = service.journal.journal.commit
        loop = asyncio.get_running_loop()

        def telling(entries: Sequence[Entry]) -> AbstractSet[str]:
            refused = commit(entries)
            loop.call_soon_threadsafe(committed.set)
            return refused

        service.journal.journal.__dict__["commit"] = telling
        gone = asyncio.create_task(step(session, 5))
        await committed.wait()
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        await until(lambda: not session.busy)
        assert session.position == 1 and session.last is not None and session.last.digest == b"digest"
        assert np.frombuffer(row_of(service, session), np.float32)[2] == 5


async def test_a_peek_runs_on_a_copy(known: Repository) -> None:
    async with session_of(known) as (service, session):
        await step(session, 1, 2)
        before = row_of(service, session)
        async with session.turn() as turn:
            result = await turn.peek(steps(3, 4))
        assert result.rows.tolist() == [[6, 0, 4]]
        assert row_of(service, session) == before and session.position == 2


async def test_two_jobs_in_one_turn_follow_each_other(known: Repository) -> None:
    async with session_of(known) as (_, session):
        async with session.turn() as turn:
            await turn.commit(steps(1), recording(session))
            await turn.commit(steps(2), recording(session))
        assert session.position == 2


async def test_a_turn_that_fails_on_the_client_side_is_given_up(known: Repository) -> None:
    async with session_of(known) as (_, session):
        with pytest.raises(ZeroDivisionError):
            async with session.turn():
                raise ZeroDivisionError
        assert not session.busy
        await step(session, 1)


async def test_a_session_that_ended_while_one_waited_says_how(known: Repository) -> None:
    ways: list[tuple[Literal["closed", "expired"], type[UnrollError]]] = [
        ("closed", SessionNotFound),
        ("expired", SessionExpired),
    ]
    for event, error in ways:
        async with session_of(known) as (_, session):
            async with session.turn():
                waiting = asyncio.create_task(step(session, 1))
                await asyncio.sleep(0)
                session.ended = event
            for late in (waiting, step(session, 1)):
                with pytest.raises(error, match="session s was"):
                    await late
            assert not session.busy and session.position == 0


async def test_a_session_that_ended_can_be_told_of_for_ever(known: Repository) -> None:
    """A stream may go on sending; what it is told does not grow."""
    async with session_of(known) as (_, session):
        session.ended = "closed"
        for _ in range(50):
            with pytest.raises(SessionNotFound) as told:
                await step(session, 1)
        assert len(list(traceback.walk_tb(told.value.__traceback__))) < 20


async def test_a_stopped_service_refuses_a_step_and_frees_the_session(known: Repository) -> None:
    async with session_of(known) as (service, session):
        await service.stop(grace_s=1)
        with pytest.raises(ShuttingDown):
            await step(session, 1)
        assert not session.busy and session.position == 0


# Repeats


async def outcome(session: Session, expected: Expected, digest: bytes) -> Transition | None:
    async with session.turn() as turn:
        return turn.repeated(expected, digest)


async def test_the_same_step_again_is_recognised_by_position_and_by_key(known: Repository) -> None:
    async with session_of(known) as (_, session):
        await step(session, 1)
        await step(session, 2, 3, key="k", digest=b"two")
        for expected in (Expected(position=1), Expected(key="k"), Expected(1, "k"), Expected(1, "another key")):
            found = await outcome(session, expected, b"two")
            assert found is session.last and found is not None and found.start == 1


async def test_the_same_step_with_other_content_is_a_conflict_with_both_positions(known: Repository) -> None:
    async with session_of(known) as (_, session):
        await step(session, 1)
        await step(session, 2, 3, key="k", digest=b"two")
        for expected in (Expected(position=1), Expected(key="k"), Expected(1, "k")):
            with pytest.raises(PositionConflict, match="was used before with another request") as conflict:
                await outcome(session, expected, b"other")
            assert (conflict.value.position, conflict.value.durable_position) == (3, 0)


@pytest.mark.parametrize("position", [0, 2, 4, 99])
async def test_another_position_is_a_conflict(known: Repository, position: int) -> None:
    async with session_of(known) as (_, session):
        await step(session, 1)
        await step(session, 2, 3, key="k", digest=b"two")
        for expected in (Expected(position), Expected(position, "new")):
            with pytest.raises(PositionConflict, match=f"expected position {position}, but it is at 3"):
                await outcome(session, expected, b"two")
        with pytest.raises(PositionConflict, match=f"expected position {position}, but this key began at 1"):
            await outcome(session, Expected(position, "k"), b"two")


async def test_a_new_step_is_new(known: Repository) -> None:
    async with session_of(known) as (_, session):
        assert await outcome(session, Expected(0, "k"), b"digest") is None
        await step(session, 1, key="k")
        for expected in (NOTHING_EXPECTED, Expected(1), Expected(key="other"), Expected(1, "other")):
            assert await outcome(session, expected, b"digest") is None


# What anyone may know


async def test_a_session_describes_itself_in_plain_values(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, RUNNING_SUM, id="s", seed=3, first_timestamp=np.datetime64("2024-01-01T05:00", "s"))
        await step(session, 1, 2)
        facts = session.describe()
        assert {name: facts[name] for name in ("id", "object", "model", "version", "task", "position", "seed")} == {
            "id": "s",
            "object": "session",
            "model": RUNNING_SUM,
            "version": 1,
            "task": "forecast",
            "position": 2,
            "seed": 3,
        }
        assert facts["first_timestamp"] == "2024-01-01T05:00:00Z"
        assert facts["next_timestamp"] == "2024-01-01T07:00:00Z"
        assert facts["state_bytes"] == 12 and facts["durable_position"] == 0
        assert facts["created"] <= facts["expires"] - facts["time_to_live_s"]


async def test_a_text_session_has_no_timestamps(known: Repository) -> None:
    async with session_of(known, NEXT_TOKEN) as (_, session):
        assert "first_timestamp" not in session.describe()


async def test_a_session_without_a_first_timestamp_has_no_next_one(known: Repository) -> None:
    async with session_of(known) as (_, session):
        facts = session.describe()
        assert facts["first_timestamp"] is None and facts["next_timestamp"] is None
