"""Counting who is served, and draining."""

from __future__ import annotations

import asyncio

import pytest

from service.errors import ShuttingDown
from service.protocols.context import Traffic

pytestmark = pytest.mark.anyio


async def test_draining_waits_for_what_runs_and_refuses_what_is_new() -> None:
    traffic = Traffic()
    with traffic.serving():
        draining = asyncio.create_task(traffic.drain(10))
        await asyncio.sleep(0.03)
        assert not draining.done()
        with pytest.raises(ShuttingDown), traffic.serving():
            raise AssertionError("taken in spite of draining")
    await asyncio.wait_for(draining, 1)
    assert traffic.active == 0


async def test_draining_ends_with_the_grace() -> None:
    traffic = Traffic()
    with traffic.serving():
        await asyncio.wait_for(traffic.drain(0.05), 1)


async def test_draining_ends_at_once_when_hurried() -> None:
    traffic = Traffic()
    with traffic.serving():
        await asyncio.wait_for(traffic.drain(60, lambda: True), 1)


async def test_idle_connections_are_closed_even_if_one_fails_to() -> None:
    traffic, closed = Traffic(), []

    async def fails() -> None:
        raise RuntimeError("gone already")

    async def closes() -> None:
        closed.append(True)

    traffic.idle |= {fails, closes}
    await traffic.drain(1)
    assert closed == [True]
