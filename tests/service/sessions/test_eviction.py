"""Rows that leave memory under pressure, and come back from the journal."""

from __future__ import annotations

import asyncio

import pytest

from service.errors import Overloaded, StepFailed
from service.models.repository import Repository
from service.sessions.session import Session
from service.tasks.forecast import ForecastRequest, forecast_series, observe
from service.tasks.text import GenerateRequest, generate, observe_text
from tests.known_graphs import FAILING_VALUE
from tests.known_models import NEXT_TOKEN, RUNNING_SUM
from tests.service.running import Watch, floats, gated, opened, row_of, running, until

pytestmark = pytest.mark.anyio


async def medians(session: Session, *values: float) -> list[float]:
    seen = await observe(session, floats(*values))
    return [float(median) for median in seen.quantiles[:, 1]]


async def test_rows_leave_memory_under_pressure_and_come_back_unchanged(known: Repository) -> None:
    watch = Watch()
    async with running(known, watch, resident_sessions=2) as service:
        sessions = [opened(service, RUNNING_SUM) for _ in range(5)]
        for value in (1.0, 2.0, 3.0):
            for number, session in enumerate(sessions):
                await observe(session, floats(value * number))
        for number, session in enumerate(sessions):
            assert await medians(session, 0) == [6.0 * number]
        assert watch.events["evicted: pressure"] >= 10
        assert sum(session.slot is not None for session in sessions) == 2
        assert watch.state_bytes == 2 * sessions[0].engine.table.row_bytes


async def test_the_row_not_used_for_longest_leaves_first(known: Repository) -> None:
    async with running(known, resident_sessions=2) as service:
        a, b, c = (opened(service, RUNNING_SUM, id=id_) for id_ in "abc")
        for session in (a, b, a, c):
            await observe(session, floats(1))
        assert [session.slot is None for session in (a, b, c)] == [False, True, False]


async def test_a_session_that_was_never_used_takes_no_row(known: Repository) -> None:
    async with running(known, resident_sessions=1) as service:
        sessions = [opened(service, RUNNING_SUM) for _ in range(5)]
        assert all(session.slot is None for session in sessions)
        assert sessions[0].engine.table.in_use == 0


async def test_sessions_in_use_keep_their_rows_and_one_too_many_is_refused(known: Repository) -> None:
    async with running(known, resident_sessions=2) as service:
        a, b, c = (opened(service, RUNNING_SUM, id=id_) for id_ in "abc")
        with gated(a.model) as gate:
            gate.close()
            steps = [asyncio.create_task(observe(session, floats(1))) for session in (a, b)]
            await gate.entered()
            await until(lambda: b.slot is not None)
            with pytest.raises(Overloaded, match="all 2 rows of model running-sum/1 are in use"):
                await observe(c, floats(1))
            assert c.position == 0 and not c.busy
            gate.open()
            await asyncio.gather(*steps)
        assert (await observe(c, floats(1))).position == 1


async def test_a_released_row_shows_nothing_of_its_last_session(known: Repository) -> None:
    async with running(known, resident_sessions=1) as service:
        a = opened(service, RUNNING_SUM)
        await observe(a, floats(5, 6, 7))
        await service.store.close(a.key)
        b = opened(service, RUNNING_SUM)
        assert row_of(service, b) == a.model.initial().tobytes()
        seen = await observe(b, floats(1))
        assert seen.quantiles[0].tolist() != seen.quantiles[0].tolist()  # NaN: nothing is known of b


async def test_a_text_that_is_being_read_pins_no_row_between_its_pieces(known: Repository) -> None:
    """As many slow readers as there are rows would otherwise shut everyone else out."""
    async with running(known, resident_sessions=1) as service:
        read, other = (opened(service, NEXT_TOKEN, seed=1) for _ in range(2))
        generation = generate(read, GenerateRequest(40, temperature=1.5))
        first = await anext(generation)
        assert (await observe_text(other, text="abc")).position == 3
        text = first.text + "".join([piece.text async for piece in generation])
        again = opened(service, NEXT_TOKEN, seed=1)
        assert "".join([piece.text async for piece in generate(again, GenerateRequest(40, temperature=1.5))]) == text


async def test_a_refused_step_pins_no_row(known: Repository) -> None:
    """Or an overload, once over, would have left ever fewer rows to everyone."""
    async with running(known, resident_sessions=1, queue_limit=1) as service:
        refused, other = (opened(service, RUNNING_SUM) for _ in range(2))
        with gated(refused.model) as gate:
            gate.close()
            blocking = asyncio.create_task(forecast_series(service, refused.model, floats(1), ForecastRequest(1)))
            await gate.entered()
            with pytest.raises(Overloaded, match="requests wait"):
                await observe(refused, floats(1))
            gate.open()
            await blocking
        assert (await observe(other, floats(1))).position == 1
        assert (await observe(refused, floats(1))).position == 1


async def test_a_failed_step_pins_no_row(known: Repository) -> None:
    async with running(known, resident_sessions=1) as service:
        failing, other = (opened(service, RUNNING_SUM) for _ in range(2))
        with pytest.raises(StepFailed):
            await observe(failing, floats(FAILING_VALUE))
        assert (await observe(other, floats(1))).position == 1
        assert await medians(failing, 5, 6) == [pytest.approx(float("nan"), nan_ok=True), 5]
