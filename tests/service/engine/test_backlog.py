"""The work that waits for an engine, in seconds."""

from __future__ import annotations

import numpy as np
import pytest

from service.contract.manifest import GraphName
from service.engine.backlog import SLOWDOWN, Backlog
from service.engine.job import Job

LIMIT_S = 0.5
PER_STEP: dict[GraphName, float] = {"observe": 0.001, "generate": 0.002}


def job(steps: int, graph: GraphName = "observe", rows: int = 1, owner: str | None = None) -> Job:
    made = Job(graph, steps, {}, rows=np.zeros((rows, 1), np.float32))
    made.owner = owner
    return made


def fill(backlog: Backlog, steps: int, owner: str | None = None) -> int:
    """Add jobs for as long as they are admitted; how many that were."""
    admitted = 0
    while backlog.admits([job(steps, owner=owner)]):
        backlog.add(job(steps, owner=owner))
        admitted += 1
    return admitted


@pytest.fixture
def backlog() -> Backlog:
    return Backlog(LIMIT_S, PER_STEP)


def test_jobs_cost_what_their_row_steps_cost(backlog: Backlog) -> None:
    assert backlog.cost_of([job(10)]) == pytest.approx(0.010)
    assert backlog.cost_of([job(1, "generate"), job(3, rows=2)]) == pytest.approx(0.008)


def test_runs_tell_how_fast_the_engine_is_now(backlog: Backlog) -> None:
    backlog.add(job(100))
    assert backlog.before(None, 1.0) == pytest.approx(0.1)
    backlog.note_run("observe", steps=8, rows=4, seconds=0.016)
    assert backlog.before(None, 1.0) == pytest.approx(0.05)


def test_a_run_that_took_long_for_once_is_not_believed_and_many_are(backlog: Backlog) -> None:
    backlog.add(job(100))
    backlog.note_run("observe", steps=10, rows=1, seconds=1.0)
    assert backlog.before(None, 1.0) < 0.11
    for _ in range(100):
        backlog.note_run("observe", steps=10, rows=1, seconds=0.05)
    assert backlog.before(None, 1.0) == pytest.approx(0.5)


def test_how_fast_the_engine_is_changes_nothing_for_as_many_as_may_wait_at_any_rate(backlog: Backlog) -> None:
    for seconds in (0.01, 0.002, 0.05, 0.3) * (SLOWDOWN // 4):
        assert backlog.admits_cost(None, 0.1)
        backlog.add_cost(None, 0.1)
        backlog.note_run("observe", steps=10, rows=1, seconds=seconds)


@pytest.mark.parametrize("steps", [1, 10])
def test_requests_are_admitted_until_the_work_before_them_is_too_long(backlog: Backlog, steps: int) -> None:
    assert fill(backlog, steps) == pytest.approx(SLOWDOWN + LIMIT_S / (0.001 * steps), abs=2)


def test_a_few_jobs_wait_at_any_rate(backlog: Backlog) -> None:
    for _ in range(SLOWDOWN):
        assert backlog.admits([job(100)])
        backlog.add(job(100))
    # Beside a crowd of somebody else's as well.
    fill(backlog, 100, "flood")
    assert backlog.admits([job(100, owner="other")])


def test_a_short_request_is_not_kept_out_by_long_ones(backlog: Backlog) -> None:
    fill(backlog, 1000)
    assert backlog.before(None, 1.0) >= SLOWDOWN
    assert backlog.before(None, 0.002) < 0.2 and backlog.admits([job(1)]) and backlog.admits([job(2)])


def test_a_long_request_waits_for_the_short_ones(backlog: Backlog) -> None:
    for steps in (1, 10):
        for _ in range(100):
            backlog.add(job(steps))
    assert backlog.before(None, 1.0) == pytest.approx(1.1)


def test_a_job_that_is_done_waits_no_more(backlog: Backlog) -> None:
    jobs = [job(1 + steps % 7, rows=1 + steps % 3) for steps in range(50)]
    for one in jobs:
        backlog.add(one)
        backlog.note_run("observe", steps=2, rows=1, seconds=0.001 * one.steps)
    for one in reversed(jobs):
        backlog.remove(one)
    assert backlog.before(None, 1000.0) == 0.0


def test_a_run_that_took_no_time_at_all_is_not_believed_for_ever(backlog: Backlog) -> None:
    backlog.note_run("observe", steps=4, rows=1, seconds=0.0)
    backlog.add(job(4))
    assert backlog.before(None, 1.0) < 0.001
    for _ in range(200):
        backlog.note_run("observe", steps=4, rows=1, seconds=0.004)
    assert backlog.before(None, 1.0) == pytest.approx(0.004)


@pytest.mark.parametrize("steps", [1, 10])
def test_an_owner_is_not_kept_out_by_another(backlog: Backlog, steps: int) -> None:
    alone = fill(backlog, steps, "flood")
    assert backlog.admits([job(steps, owner="other")])
    # The two take turns: what lies before a request of the other's is twice its own.
    assert fill(backlog, steps, "other") == pytest.approx(max(SLOWDOWN, alone / 2), abs=2)


def test_an_owner_whose_work_is_done_is_forgotten(backlog: Backlog) -> None:
    jobs = [job(steps, owner=owner) for steps in (1, 7) for owner in ("one", "two")]
    for one in jobs:
        backlog.add(one)
    assert backlog.before(None, 1.0) == pytest.approx(0.016)
    for one in jobs:
        backlog.remove(one)
    assert backlog.before("one", 1.0) == 0.0
