from __future__ import annotations

import asyncio

import pytest

from service.errors import ShuttingDown
from service.journal.memory import MemoryJournal
from service.models.repository import Repository
from service.sessions.async_journal import AsyncJournal
from service.sessions.engines import Engines
from tests.known_models import NEXT_TOKEN, RUNNING_SUM
from tests.service.engine.building import observe
from tests.service.running import Watch

pytestmark = pytest.mark.anyio


def in_memory() -> AsyncJournal:
    return AsyncJournal(MemoryJournal(), Watch())


async def test_each_model_has_one_engine_of_the_size_asked_for(known: Repository) -> None:
    engines = Engines(in_memory(), Watch(), capacity=7, queue_limit=3)
    series, text = known.get(RUNNING_SUM), known.get(NEXT_TOKEN)
    assert engines.models() == []
    assert engines.of(series) is engines.of(series) is not engines.of(text)
    assert engines.models() == [series, text] and engines.of(series).table.capacity == 7
    await engines.stop(grace_s=1)
    assert engines.models() == []


async def test_only_the_engines_that_nobody_needs_are_retired(known: Repository) -> None:
    engines = Engines(in_memory(), Watch(), capacity=7, queue_limit=3)
    series, text = known.get(RUNNING_SUM), known.get(NEXT_TOKEN)
    kept, retired = engines.of(series), engines.of(text)
    await engines.retire_all_but([series], grace_s=1)
    with pytest.raises(ShuttingDown):
        retired.submit(observe([1], model=series))
    assert engines.of(series) is kept and (await kept.submit(observe([1], model=series))).steps == 1
    await engines.stop(grace_s=1)


async def test_an_engine_is_kept_as_long_as_a_request_uses_it(known: Repository) -> None:
    engines = Engines(in_memory(), Watch(), capacity=7, queue_limit=3)
    model = known.get(RUNNING_SUM)
    with engines.using(model) as engine, engines.using(model) as again:
        assert engine is again
        await engines.retire_all_but([], grace_s=1)
        assert (await engine.submit(observe([1], model=model))).steps == 1
    await engines.retire_all_but([], grace_s=1)
    with pytest.raises(ShuttingDown):
        engine.submit(observe([1], model=model))
    await engines.stop(grace_s=1)


async def test_no_engine_is_started_once_they_are_stopped(known: Repository) -> None:
    engines = Engines(in_memory(), Watch(), capacity=7, queue_limit=3)
    await engines.stop(grace_s=1)
    with pytest.raises(ShuttingDown):
        engines.of(known.get(RUNNING_SUM))


async def test_what_waits_is_finished_before_an_engine_retires(known: Repository) -> None:
    engines = Engines(in_memory(), Watch(), capacity=7, queue_limit=30)
    model = known.get(RUNNING_SUM)
    answers = [engines.of(model).submit(observe([1] * 100, model=model)) for _ in range(10)]
    await engines.retire_all_but([], grace_s=5)
    assert [result.steps for result in await asyncio.gather(*answers)] == [100] * 10
