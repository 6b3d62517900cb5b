"""How the engine ends: what waits is finished, the rest is answered, nothing hangs."""

from __future__ import annotations

import asyncio
import threading

import pytest

from service.engine.calibration import Calibration
from service.engine.engine import Engine
from service.errors import ShuttingDown
from service.models.model import Model
from tests.service.engine.building import Committed, observe, outcome
from tests.service.running import Watch, gated

CALIBRATION = Calibration({"observe": 256, "generate": 256}, brief_rows=4)

pytestmark = pytest.mark.anyio


async def test_stopping_finishes_what_waits_and_refuses_what_is_new(model: Model) -> None:
    engine = Engine(model, None, Watch(), calibration=CALIBRATION, capacity=10, queue_limit=100)
    with gated(model) as gate:
        gate.close()
        long, short = engine.submit(observe([1] * 500, model=model)), engine.submit(observe([1], model=model))
        await gate.entered()
        stopping = asyncio.create_task(engine.stop(grace_s=10))
        await asyncio.sleep(0)
        with pytest.raises(ShuttingDown):
            engine.submit(observe([1], model=model))
        gate.open()
        await stopping
    assert (await long).rows[0, 0] == 499 and (await short).steps == 1


async def test_stopping_answers_what_it_cannot_finish(model: Model) -> None:
    engine = Engine(model, None, Watch(), calibration=CALIBRATION, capacity=10, queue_limit=100)
    with gated(model) as gate:
        gate.close()
        long = engine.submit(observe([1] * 500, model=model))
        await gate.entered()
        waiting = [engine.submit(observe([1] * steps, model=model)) for steps in (1, 4, 500)]
        stopping = asyncio.create_task(engine.stop(grace_s=0))
        for answer in waiting:
            assert isinstance(await outcome(answer), ShuttingDown)
        gate.open()
        await stopping
    assert isinstance(await outcome(long), ShuttingDown)


async def test_what_was_committed_while_stopping_is_answered(model: Model) -> None:
    engine = Engine(model, None, Watch(), calibration=CALIBRATION, capacity=10, queue_limit=100)
    commit = Committed(engine.table.acquire(model.initial()) or 0)
    with gated(model) as gate:
        gate.close()
        answer = engine.submit(observe([1], commit))
        await gate.entered()
        stopping = asyncio.create_task(engine.stop(grace_s=0))
        await asyncio.sleep(0.01)
        gate.open()
        await stopping
    assert (await answer).steps == 1 and len(commit.applied) == 1


async def test_stopping_ends_the_thread_and_may_be_asked_twice(model: Model) -> None:
    before = threading.enumerate()
    engine = Engine(model, None, Watch(), calibration=CALIBRATION, capacity=10, queue_limit=100)
    await engine.submit(observe([1], model=model))
    await engine.stop(grace_s=1)
    await engine.stop(grace_s=1)
    left = [thread.name for thread in threading.enumerate() if thread not in before]
    assert not any(name.startswith("engine") for name in left), left
