"""Who gets the next run when several kinds of jobs wait all the time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contract.manifest import GraphName
from service.engine.job import Job
from tests.service.engine.building import ready_within

pytestmark = pytest.mark.anyio

Kind = tuple[GraphName, int]
KINDS: list[Kind] = [(graph, steps) for graph in ("observe", "generate") for steps in (1, 4, 16, 64)]


def job(graph: GraphName, steps: int) -> Job:
    return Job(graph, steps, {}, rows=np.zeros((1, 1), np.float32))


@given(st.sets(st.sampled_from(KINDS), min_size=1))
def test_no_kind_of_job_waits_for_ever_while_others_keep_coming(kinds: set[Kind]) -> None:
    ready = ready_within(64)
    for graph, steps in sorted(kinds):
        ready.add(job(graph, steps))
    served: set[Kind] = set()
    for _ in range(8 * len(KINDS)):
        _, _, jobs = ready.next_batch()
        served |= {(one.graph, one.steps) for one in jobs}
        for one in jobs:
            ready.add(job(one.graph, one.steps))
    assert served == kinds


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.integers(1, 80)), max_size=40), st.integers(1, 200))
def test_every_job_runs_all_of_its_steps_once(wanted: list[tuple[Kind, int]], budget: int) -> None:
    ready = ready_within(budget)
    jobs = [job(graph, steps) for (graph, _), steps in wanted]
    for one in jobs:
        ready.add(one)
    while ready:
        _, steps, taken = ready.next_batch()
        for one in taken:
            one.done += steps
            if not one.finished:
                ready.add(one)
    assert all(one.done == one.steps for one in jobs)


async def test_what_waits_can_be_taken_out_at_once() -> None:
    ready = ready_within(64)
    jobs = [job(graph, steps) for graph, steps in KINDS]
    for one in jobs:
        ready.add(one)
    assert set(map(id, ready.drain())) == set(map(id, jobs))
    assert not ready and not ready.drain()
