from __future__ import annotations

import numpy as np
import pytest

from service.contract.manifest import GraphName
from service.engine.job import Job
from tests.service.engine.building import ready_within

pytestmark = pytest.mark.anyio


def job(steps: int, rows: int = 1, graph: GraphName = "observe") -> Job:
    return Job(graph, steps, {}, rows=np.zeros((rows, 1), np.float32))


async def test_jobs_of_one_chunk_length_run_together_in_order() -> None:
    ready = ready_within(1000)
    jobs = [job(1) for _ in range(5)]
    for one in jobs:
        ready.add(one)
    assert ready.next_batch() == ("observe", 1, jobs)
    assert not ready


async def test_a_long_job_is_cut_by_the_ladder() -> None:
    ready = ready_within(1000)
    long = job(85)
    chunks = []
    while not long.finished:
        ready.add(long)
        _, steps, _ = ready.next_batch()
        chunks.append(steps)
        long.done += steps
    assert chunks == [64, 16, 4, 1]


async def test_single_steps_wait_for_one_run_at_most() -> None:
    ready = ready_within(64)
    for _ in range(3):
        ready.add(job(64))
    order: list[int] = []
    for _ in range(5):
        if order[-1:] != [1]:
            ready.add(job(1))
        _, steps, jobs = ready.next_batch()
        order.append(steps)
        for one in jobs:
            one.done += steps
            if not one.finished:
                ready.add(one)
    assert order == [1, 16, 1, 16, 1]


async def test_many_long_jobs_run_side_by_side_rather_than_one_after_the_other() -> None:
    ready = ready_within(1024)
    jobs = [job(100) for _ in range(64)]
    for one in jobs:
        ready.add(one)
    assert ready.next_batch() == ("observe", 16, jobs)


async def test_more_rows_than_make_a_run_better_do_not_make_its_steps_fewer() -> None:
    ready = ready_within(1024)
    for _ in range(1000):
        ready.add(job(100))
    _, steps, taken = ready.next_batch()
    assert (steps, len(taken)) == (16, 64)


async def test_those_with_fewer_steps_left_than_the_run_takes_wait_for_their_own() -> None:
    ready = ready_within(1024)
    longer, shorter = job(20), job(3)
    ready.add(longer)
    ready.add(shorter)
    assert ready.next_batch() == ("observe", 16, [longer])
    assert ready.next_batch() == ("observe", 2, [shorter])


async def test_a_run_stays_within_its_budget_of_row_steps() -> None:
    ready = ready_within(100)
    for _ in range(30):
        ready.add(job(4, rows=10))
    while ready:
        _, steps, jobs = ready.next_batch()
        assert sum(one.width for one in jobs) * steps <= 100


async def test_a_job_wider_than_the_budget_still_runs_step_by_step() -> None:
    ready = ready_within(100)
    ready.add(job(24, rows=500))
    _, steps, jobs = ready.next_batch()
    assert (steps, len(jobs)) == (1, 1)


async def test_graphs_are_never_mixed_in_one_run() -> None:
    ready = ready_within(100)
    ready.add(job(4, graph="observe"))
    ready.add(job(4, graph="generate"))
    assert len(ready.next_batch()[2]) == len(ready.next_batch()[2]) == 1
