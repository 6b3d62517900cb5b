"""Forks: sessions that begin where others stand."""

from __future__ import annotations

import asyncio

import pytest

from service.errors import (
    SessionExists,
    SessionNotFound,
)
from service.models.repository import Repository
from service.sessions.ownership import SessionKey
from service.sessions.session import Session
from service.tasks.forecast import observe
from tests.known_models import RUNNING_SUM
from tests.service.running import floats, gated, opened, row_of, running

pytestmark = pytest.mark.anyio


async def medians(session: Session, *values: float) -> list[float]:
    seen = await observe(session, floats(*values))
    return [float(median) for median in seen.quantiles[:, 1]]


async def test_a_fork_stands_where_its_parent_does_and_goes_its_own_way(known: Repository) -> None:
    async with running(known) as service:
        parent = opened(service, RUNNING_SUM, seed=5)
        await observe(parent, floats(1, 2, 3))
        fork = await service.store.fork(parent.key, "fork", None)
        assert (fork.id, fork.position, fork.model) == ("fork", 3, parent.model) and fork.seed != parent.seed
        assert row_of(service, fork) == row_of(service, parent)
        await observe(fork, floats(10))
        assert await medians(parent, 0) == [6] and await medians(fork, 0) == [16]


async def test_a_fork_takes_the_seed_it_is_given(known: Repository) -> None:
    async with running(known) as service:
        parent = opened(service, RUNNING_SUM)
        assert (await service.store.fork(parent.key, None, 7)).seed == 7


async def test_a_fork_outlives_its_parent(known: Repository) -> None:
    async with running(known) as service:
        parent = opened(service, RUNNING_SUM)
        await observe(parent, floats(1, 2))
        fork = await service.store.fork(parent.key, None, None)
        await service.store.close(parent.key)
        assert await medians(fork, 0) == [3]


async def test_a_fork_waits_for_what_was_asked_before(known: Repository) -> None:
    async with running(known) as service:
        parent = opened(service, RUNNING_SUM)
        with gated(parent.model) as gate:
            gate.close()
            step = asyncio.create_task(observe(parent, floats(1, 2)))
            await gate.entered()
            forking = asyncio.create_task(service.store.fork(parent.key, None, None))
            await asyncio.sleep(0)
            assert not forking.done()
            gate.open()
            await step
            assert (await forking).position == 2


async def test_a_fork_of_what_is_not_there_or_onto_what_is_there_is_refused(known: Repository) -> None:
    async with running(known) as service:
        parent = opened(service, RUNNING_SUM, id="a")
        with pytest.raises(SessionNotFound):
            await service.store.fork(SessionKey("never"), None, None)
        with pytest.raises(SessionExists):
            await service.store.fork(SessionKey("a"), "a", None)
        assert not parent.busy and len(service.store) == 1


async def test_a_fork_carries_no_recorded_answers(known: Repository) -> None:
    async with running(known) as service:
        parent = opened(service, RUNNING_SUM)
        await observe(parent, floats(1))
        assert (await service.store.fork(parent.key, None, None)).last is None


async def test_a_fork_of_a_row_that_left_memory_brings_it_back(known: Repository) -> None:
    async with running(known, resident_sessions=1) as service:
        parent, other = (opened(service, RUNNING_SUM) for _ in range(2))
        await observe(parent, floats(4, 5))
        await observe(other, floats(1))
        assert parent.slot is None
        fork = await service.store.fork(parent.key, None, None)
        assert await medians(fork, 0) == [9]
