"""Sessions that the borrowed schemas open on the way."""

from __future__ import annotations

import asyncio

import pytest

from service.access.caller import ANYONE, enter
from service.errors import InputMismatch
from service.models.repository import Repository
from service.protocols.session_use import opened_or_found
from service.sessions.service import OpenSession, Service
from service.tasks.forecast import observe
from tests.known_models import RUNNING_SUM
from tests.service.running import floats, found, gated, running

pytestmark = pytest.mark.anyio

WANTED = OpenSession(RUNNING_SUM, id="a", owner=None)


async def open_and_fail(service: Service, others: asyncio.Event) -> None:
    """A request that opens the session and is refused once others have come."""
    with pytest.raises(InputMismatch):
        async with opened_or_found(service, service.repository.get(RUNNING_SUM), WANTED) as (_, is_new):
            assert is_new
            await others.wait()
            raise InputMismatch("refused")


async def open_and_observe(service: Service) -> int:
    async with opened_or_found(service, service.repository.get(RUNNING_SUM), WANTED) as (session, is_new):
        assert not is_new
        return (await observe(session, floats(1, 2))).position


async def test_a_refused_request_takes_no_session_from_one_that_is_using_it(known: Repository) -> None:
    enter(ANYONE)
    async with running(known) as service:
        others = asyncio.Event()
        failing = asyncio.create_task(open_and_fail(service, others))
        await asyncio.sleep(0)
        with gated(known.get(RUNNING_SUM)) as gate:
            gate.close()
            observing = asyncio.create_task(open_and_observe(service))
            await gate.entered()
            others.set()
            await asyncio.sleep(0.01)
            gate.open()
            assert await observing == 2
        await failing
        assert found(service, "a").position == 2


async def test_a_refused_request_leaves_no_session_that_nobody_uses(known: Repository) -> None:
    enter(ANYONE)
    async with running(known) as service:
        others = asyncio.Event()
        others.set()
        await open_and_fail(service, others)
        assert len(service.store) == 0
