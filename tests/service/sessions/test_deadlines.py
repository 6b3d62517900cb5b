from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.engine.engine import Engine
from service.journal import clock as journal_clock
from service.models.repository import Repository
from service.sessions.deadlines import Deadlines, _second_to_look
from service.sessions.ownership import SessionKey
from service.sessions.session import Session
from tests.known_models import RUNNING_SUM
from tests.service.running import running

pytestmark = pytest.mark.anyio

DAY = 86400.0


class Clock:
    """The time of day as a test wants it."""

    def __init__(self) -> None:
        self.now = 1_000_000.25

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(journal_clock, "now", clock)
    return clock


NewSession = Callable[[float], Session]


@pytest.fixture
async def session_of(known: Repository, clock: Clock) -> AsyncIterator[NewSession]:
    """Makes a session with so many seconds to live."""
    async with running(known) as service:
        engine: Engine = service.engines.of(known.get(RUNNING_SUM))

        yield lambda seconds: Session(SessionKey("a"), engine, 0, seconds, None, service.store.live, used=clock.now)


def looked_at(deadlines: Deadlines) -> list[Session]:
    return list(deadlines.due())


async def test_a_session_is_looked_at_when_its_time_is_over(session_of: NewSession, clock: Clock) -> None:
    deadlines, session = Deadlines(), session_of(1.0)
    deadlines.file(session)
    assert looked_at(deadlines) == []
    clock.now += 2
    assert session.is_over and looked_at(deadlines) == [session]
    assert looked_at(deadlines) == [] and session.bucket is None


async def test_one_that_is_dropped_is_looked_at_no_more(session_of: NewSession, clock: Clock) -> None:
    deadlines, session = Deadlines(), session_of(1.0)
    deadlines.file(session)
    deadlines.drop(session)
    deadlines.drop(session)
    clock.now += DAY
    assert looked_at(deadlines) == []


async def test_an_idle_session_is_found_within_a_second_and_after_few_looks(
    session_of: NewSession, clock: Clock
) -> None:
    deadlines, session = Deadlines(), session_of(365 * DAY)
    deadlines.file(session)
    looks = 0
    while not session.is_over:
        assert session.bucket is not None
        clock.now = min(second for second, bucket in deadlines._buckets.items() if session in bucket)
        assert looked_at(deadlines) == [session]
        deadlines.file(session)
        looks += 1
    assert clock.now - session.expires <= 1 and looks <= 15


async def test_uses_move_nothing_until_the_session_is_looked_at(session_of: NewSession, clock: Clock) -> None:
    deadlines, session = Deadlines(), session_of(60)
    deadlines.file(session)
    filed = session.bucket
    clock.now += 50
    session.touch()
    assert session.bucket is filed
    clock.now += 11
    assert looked_at(deadlines) == [session] and not session.is_over
    deadlines.file(session)
    clock.now = session.expires + 1
    assert looked_at(deadlines) == [session] and session.is_over


async def test_a_million_deadlines_stand_under_few_seconds(session_of: NewSession, clock: Clock) -> None:
    """Otherwise each of a crowd with a long time to live would carry a set of its own."""
    deadlines = Deadlines()
    for number in range(5000):
        clock.now += 7.3
        deadlines.file(session_of([60.0, 3600.0, DAY, 365 * DAY][number % 4]))
        for session in looked_at(deadlines):
            if not session.is_over:
                deadlines.file(session)
    assert len(deadlines._buckets) < 250


async def test_two_who_look_at_once_see_each_session_once(session_of: NewSession, clock: Clock) -> None:
    deadlines = Deadlines()
    sessions = [session_of(1.0) for _ in range(10)]
    for session in sessions:
        deadlines.file(session)
    clock.now += 5
    first, second = deadlines.due(), deadlines.due()
    seen = [next(first), next(second), *first, *second]
    assert len(seen) == 10 and set(seen) == set(sessions)


@given(st.floats(0, 400 * DAY), st.floats(0, 4e9))
def test_nobody_is_looked_at_much_too_late_or_at_once_again(left: float, now: float) -> None:
    expires = now + left
    look = _second_to_look(expires, now)
    assert math.floor(now) < look <= max(expires, now) + 1
    assert look > expires or expires - look <= left / 4 + 1


@given(st.floats(0, 400 * DAY), st.floats(1e6, 4e9))
def test_one_in_use_past_its_time_is_looked_at_a_second_later(past: float, now: float) -> None:
    assert _second_to_look(now - min(past, now), now) == math.floor(now) + 1
