"""What waits at the engine: bounds, cancellation, and long inputs beside single steps."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from service.engine.job import Job, Result
from service.errors import Cancelled, Overloaded, StepFailed
from service.models.model import Model
from tests.known_graphs import FAILING_VALUE
from tests.service.engine.building import Committed, engine_of, initial_rows, observe, outcome, row
from tests.service.running import Watch, gated

pytestmark = pytest.mark.anyio


async def test_one_more_than_may_wait_is_refused_before_any_work(model: Model) -> None:
    watch = Watch()
    async with engine_of(model, watch, queue_limit=3) as engine:
        with gated(model) as gate:
            gate.close()
            accepted = [engine.submit(observe([1], model=model)) for _ in range(3)]
            with pytest.raises(Overloaded) as refused:
                engine.submit(observe([1], model=model))
            gate.open()
            await asyncio.gather(*accepted)
        assert refused.value.retry_after_s > 0 and watch.events["rejected"] == 1
        assert sum(rows for _, rows, _ in watch.runs) == 3
        # room again
        await engine.submit(observe([1], model=model))


def owned(owner: str | None, model: Model) -> Job:
    job = observe([1], model=model)
    job.owner = owner
    return job


async def test_a_flood_of_one_owner_is_refused_before_the_queue_is_full(model: Model) -> None:
    async with engine_of(model, queue_limit=100) as engine:
        with gated(model) as gate:
            gate.close()
            accepted = []

            def fill(owner: str | None) -> int:
                count = 0
                while not engine.is_full(owner):
                    accepted.append(engine.submit(owned(owner, model)))
                    count += 1
                with pytest.raises(Overloaded):
                    engine.submit(owned(owner, model))
                return count

            # Each may have as many as there is room left then; only nobody's may take all of it.
            assert [fill("a"), fill("b"), fill("c"), fill(None)] == [50, 25, 13, 12]
            gate.open()
            await asyncio.gather(*accepted)
            assert fill("a") == 50, "there is room again"


async def test_who_is_refused_is_told_how_many_of_the_requests_are_its_own(model: Model) -> None:
    async with engine_of(model, queue_limit=4) as engine:
        with gated(model) as gate:
            gate.close()
            accepted = [engine.submit(owned(owner, model)) for owner in ("other", "plant")]
            with pytest.raises(Overloaded) as refused:
                for _ in range(4):
                    accepted.append(engine.submit(owned("plant", model)))
            gate.open()
            await asyncio.gather(*accepted)
        assert "3 requests wait" in str(refused.value) and "2 of them with this API key" in str(refused.value)


async def test_room_is_made_again_by_every_kind_of_end(model: Model) -> None:
    async with engine_of(model, queue_limit=2) as engine:
        for _ in range(5):
            assert isinstance(await outcome(engine.submit(observe([FAILING_VALUE], model=model))), StepFailed)
            cancelled = observe([1], model=model)
            cancelled.cancel()
            assert isinstance(await outcome(engine.submit(cancelled)), Cancelled)
            assert isinstance(await outcome(engine.submit(observe([1] * 100, model=model))), Result)
        first, second = (engine.submit(observe([1], model=model)) for _ in range(2))
        await asyncio.gather(first, second)


async def test_a_cancelled_job_is_not_carried_out(model: Model) -> None:
    watch = Watch()
    async with engine_of(model, watch) as engine:
        commit = Committed(engine.table.acquire(row(4, 0, 2)) or 0)
        with gated(model) as gate:
            gate.close()
            blocker = engine.submit(observe([0], model=model))
            await gate.entered()
            job = observe([1], commit)
            answer = engine.submit(job)
            job.cancel()
            gate.open()
            assert isinstance(await outcome(answer), Cancelled)
            await blocker
        assert watch.runs == [("observe", 1, 1)]
        assert engine.table.take([commit.slot]).tolist() == [[4, 0, 2]] and not commit.applied


async def test_a_long_job_that_is_cancelled_ends_at_the_next_run(model: Model) -> None:
    watch = Watch()
    async with engine_of(model, watch) as engine:
        commit = Committed(engine.table.acquire(row(4, 0, 2)) or 0)
        with gated(model) as gate:
            gate.close()
            job = observe([1] * 1000, commit)
            answer = engine.submit(job)
            await gate.entered()
            job.cancel()
            gate.open()
            assert isinstance(await outcome(answer), Cancelled)
        assert len(watch.runs) == 1
        assert engine.table.take([commit.slot]).tolist() == [[4, 0, 2]] and not commit.applied


class CancelledBetween(Job):
    """A job cancelled just after the engine has looked at it for the first time."""

    looks = 0

    @property
    def cancelled(self) -> bool:
        self.looks += 1
        return self.looks > 1


async def test_a_job_cancelled_at_any_moment_ends_once(model: Model) -> None:
    watch = Watch()
    async with engine_of(model, watch, queue_limit=1) as engine:
        rows = initial_rows(model)
        job = CancelledBetween("observe", 1, {"target": np.zeros((1, 1), np.float32)}, rows=rows)
        await outcome(engine.submit(job))
        with gated(model) as gate:
            gate.close()
            last = engine.submit(observe([1], model=model))
            with pytest.raises(Overloaded):
                engine.submit(observe([1], model=model))
            gate.open()
            await last


async def test_those_who_wait_are_told_of_and_nobody_waits_at_rest(model: Model) -> None:
    watch = Watch()
    async with engine_of(model, watch) as engine:
        with gated(model) as gate:
            gate.close()
            first = engine.submit(observe([1], model=model))
            await gate.entered()
            assert watch.events["queue"] == 0  # it runs, and waits no more
            rest = [engine.submit(observe([1] * steps, model=model)) for steps in (1, 4, 16)]
            gate.open()
            await asyncio.gather(first, *rest)
        assert watch.events["queue"] == 0
