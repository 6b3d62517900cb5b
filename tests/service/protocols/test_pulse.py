"""The event loop's pulse: who is refused when it is behind."""

from __future__ import annotations

import asyncio
import time
from contextlib import nullcontext

import pytest

from service.engine.owner import working_for
from service.errors import Overloaded
from service.protocols.context import Traffic
from service.protocols.pulse import AT_ONCE, Pulse

pytestmark = pytest.mark.anyio
PATIENCE_S = 0.05


async def stand_still(seconds: float) -> None:
    """Hold up the loop, and let it tick once after that."""
    time.sleep(seconds)
    await asyncio.sleep(0.001)


async def test_a_loop_that_keeps_up_refuses_nobody() -> None:
    pulse = Pulse(10 * PATIENCE_S)
    async with pulse.beating():
        await asyncio.sleep(0.1)
        pulse.require(AT_ONCE * 10)


async def test_a_loop_that_is_behind_refuses_what_is_more_than_a_few_at_once() -> None:
    shed: list[None] = []
    pulse = Pulse(PATIENCE_S, lambda: shed.append(None))
    async with pulse.beating():
        await asyncio.sleep(0)
        await stand_still(6 * PATIENCE_S)
        pulse.require(AT_ONCE - 1)
        with pytest.raises(Overloaded) as refused:
            pulse.require(AT_ONCE)
    assert refused.value.retry_after_s >= 1 and len(shed) == 1


async def test_within_a_long_turn_of_the_loop_requests_are_refused_before_it_ends() -> None:
    pulse = Pulse(PATIENCE_S)
    async with pulse.beating():
        await asyncio.sleep(0)
        time.sleep(4 * PATIENCE_S)
        assert pulse.is_late(time.perf_counter())


async def test_a_loop_that_has_caught_up_refuses_nobody_any_more() -> None:
    pulse = Pulse(10 * PATIENCE_S)
    async with pulse.beating():
        await asyncio.sleep(0)
        await stand_still(30 * PATIENCE_S)
        assert pulse.is_late(time.perf_counter())
        await asyncio.sleep(0.3)
        assert not pulse.is_late(time.perf_counter())


async def test_a_pulse_that_does_not_beat_refuses_nobody() -> None:
    Pulse(0.0).require(AT_ONCE)
    with Traffic(active=AT_ONCE).serving():
        pass


async def test_who_asks_for_little_is_not_refused_for_another_owners_flood() -> None:
    traffic = Traffic(pulse=Pulse(PATIENCE_S))
    async with traffic.pulse.beating():
        for _ in range(10 * AT_ONCE):
            traffic.begin("crowd")
        await asyncio.sleep(0)
        await stand_still(6 * PATIENCE_S)
        for owner, refused in (("crowd", True), (None, True), ("single", False)):
            before = working_for.set(owner)
            try:
                with pytest.raises(Overloaded) if refused else nullcontext(), traffic.serving():
                    assert traffic.active_of("single") == 1
            finally:
                working_for.reset(before)
        assert traffic.active_of("single") == 0 and traffic.active == 10 * AT_ONCE
