from __future__ import annotations

import numpy as np
import pytest

from service.contract.manifest import GraphName
from service.engine.job import Job
from service.engine.ready import Group, ReadyJobs

pytestmark = pytest.mark.anyio


def job(steps: int, rows: int = 1, graph: GraphName = "observe") -> Job:
    return Job(graph, steps, {}, rows=np.zeros((rows, 1), np.float32))


async def test_jobs_of_one_chunk_length_run_together_in_order() -> None:
    ready = ReadyJobs(step_budget=1000)
    jobs = [job(1) for _ in range(5)]
    for one in jobs:
        ready.add(one)
    assert ready.next_batch() == (("observe", 1), jobs)
    assert not ready


async def test_a_long_job_is_cut_by_the_ladder() -> None:
    ready = ReadyJobs(step_budget=1000)
    long = job(85)
    chunks = []
    while not long.finished:
        ready.add(long)
        (_, steps), _ = ready.next_batch()
        chunks.append(steps)
        long.done += steps
    assert chunks == [64, 16, 4, 1]


async def test_single_steps_wait_for_one_run_at_most() -> None:
    ready = ReadyJobs(step_budget=64)
    for _ in range(3):
        ready.add(job(64))
    order: list[Group] = []
    for _ in range(5):
        if not any(group[1] == 1 for group in order[-1:]):
            ready.add(job(1))
        group, _ = ready.next_batch()
        order.append(group)
    assert [steps for _, steps in order] == [1, 64, 1, 64, 1]


async def test_a_run_stays_within_its_budget_of_row_steps() -> None:
    ready = ReadyJobs(step_budget=100)
    for _ in range(30):
        ready.add(job(4, rows=10))
    while ready:
        (_, steps), jobs = ready.next_batch()
        assert sum(one.width for one in jobs) * steps <= 100


async def test_a_job_wider_than_the_budget_still_runs_step_by_step() -> None:
    ready = ReadyJobs(step_budget=100)
    ready.add(job(24, rows=500))
    (_, steps), jobs = ready.next_batch()
    assert (steps, len(jobs)) == (1, 1)


async def test_graphs_are_never_mixed_in_one_run() -> None:
    ready = ReadyJobs(step_budget=100)
    ready.add(job(4, graph="observe"))
    ready.add(job(4, graph="generate"))
    assert len(ready.next_batch()[1]) == len(ready.next_batch()[1]) == 1
