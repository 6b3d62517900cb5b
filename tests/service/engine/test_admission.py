"""A request that was let in once goes on."""

from __future__ import annotations

import asyncio
from contextvars import copy_context

import pytest

from service.engine.admission import begin_request, is_admitted, note_admitted

pytestmark = pytest.mark.anyio


def test_a_request_is_let_in_once_with_all_its_tasks() -> None:
    async def request() -> list[bool]:
        begin_request()
        before = is_admitted()

        async def part() -> None:
            note_admitted()

        await asyncio.gather(part(), part())
        return [before, is_admitted()]

    assert copy_context().run(asyncio.run, request()) == [False, True]


async def test_the_next_request_of_a_connection_is_asked_anew() -> None:
    begin_request()
    note_admitted()
    begin_request()
    assert not is_admitted()


def test_outside_of_any_request_every_job_is_asked() -> None:
    def job() -> bool:
        note_admitted()
        return is_admitted()

    assert not copy_context().run(job)
