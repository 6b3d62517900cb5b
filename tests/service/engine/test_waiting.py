"""Owners take turns: nobody's jobs wait behind all of another's, whatever either of them sends."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contract.manifest import GraphName
from service.engine.job import Job
from service.engine.owner import working_for
from service.engine.ready import ReadyJobs
from tests.service.engine.building import ready_within


def job(owner: str | None, steps: int = 1, rows: int = 1, graph: GraphName = "observe") -> Job:
    made = Job(graph, steps, {}, rows=np.zeros((rows, 1), np.float32))
    made.owner = owner
    return made


def waiting(budget: int, *jobs: Job) -> ReadyJobs:
    ready = ready_within(budget)
    for one in jobs:
        ready.add(one)
    return ready


def owners(jobs: list[Job]) -> list[str | None]:
    return [one.owner for one in jobs]


def run(ready: ReadyJobs) -> list[Job]:
    """Make one run; what is not at its end waits again."""
    _, steps, jobs = ready.next_batch()
    for one in jobs:
        one.done += steps
        if not one.finished:
            ready.add(one)
    return jobs


def test_a_job_belongs_to_whoever_it_is_made_for() -> None:
    before = working_for.set("plant")
    try:
        assert Job("observe", 1, {}).owner == "plant"
    finally:
        working_for.reset(before)
    assert Job("observe", 1, {}).owner is None


def test_one_job_goes_second_at_the_latest_beside_a_thousand_of_another_owner() -> None:
    ready = waiting(64, *(job("crowd") for _ in range(1000)), job("single"))
    assert owners(run(ready))[:2] == ["crowd", "single"]


def test_owners_share_a_run_that_does_not_take_everyone() -> None:
    ready = waiting(
        60, *(job("a") for _ in range(100)), *(job("b") for _ in range(100)), *(job(None) for _ in range(5))
    )
    assert Counter(owners(run(ready))) == {"a": 28, "b": 27, None: 5}


def test_who_comes_back_for_every_run_is_in_every_run() -> None:
    ready = waiting(8, *(job("crowd") for _ in range(1000)))
    for _ in range(100):
        ready.add(job("single"))
        assert "single" in owners(run(ready))


def test_turns_are_counted_in_row_steps_and_not_in_jobs() -> None:
    ready = waiting(100, *(job("wide", rows=20) for _ in range(100)), *(job("narrow") for _ in range(1000)))
    had: Counter[str | None] = Counter()
    for _ in range(20):
        for one in run(ready):
            had[one.owner] += one.width
    assert abs(had["wide"] - had["narrow"]) <= 20


def test_long_inputs_of_one_owner_do_not_keep_those_of_another_waiting() -> None:
    single = job("single", 640)
    ready = waiting(1024, *(job("crowd", 6400) for _ in range(100)), single)
    runs = 0
    while not single.finished:
        run(ready)
        runs += 1
    assert runs == 640 / 16


def test_nobody_saves_up_turns_while_not_waiting() -> None:
    ready = waiting(10, *(job("steady") for _ in range(1000)))
    for _ in range(50):
        run(ready)
    for _ in range(100):
        ready.add(job("late"))
    assert Counter(owners(run(ready))) == {"steady": 5, "late": 5}


def test_one_owners_jobs_keep_their_order_beside_others() -> None:
    mine = [job("a") for _ in range(50)]
    ready = waiting(7, *mine, *(job("b") for _ in range(50)))
    taken = [one for _ in range(20) for one in (run(ready) if ready else []) if one.owner == "a"]
    assert taken == mine


owned = st.tuples(st.sampled_from(["a", "b", None]), st.integers(1, 70), st.integers(1, 5), st.sampled_from([0, 1]))


@given(st.lists(owned, max_size=60), st.integers(1, 100))
def test_every_job_of_every_owner_takes_all_of_its_steps(wanted: list[tuple[str, int, int, int]], budget: int) -> None:
    graphs: tuple[GraphName, GraphName] = ("observe", "generate")
    jobs = [job(owner, steps, rows, graphs[which]) for owner, steps, rows, which in wanted]
    ready = waiting(budget, *jobs)
    assert len(ready) == len(jobs)
    for _ in range(100_000):
        if not ready:
            break
        taken = run(ready)
        assert len(set(map(id, taken))) == len(taken) > 0
        assert len({(one.graph, one.steps - one.done == 0) for one in taken}) <= 2
    assert all(one.finished for one in jobs) and len(ready) == 0


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 200), min_size=2), st.integers(6, 64))
def test_while_all_wait_nobody_has_had_more_than_one_turn_more(counts: dict[str, int], budget: int) -> None:
    ready = waiting(budget, *(job(owner) for owner, count in counts.items() for _ in range(count)))
    had: Counter[str | None] = Counter()
    while ready and all(had[owner] < count for owner, count in counts.items()):
        for one in run(ready):
            had[one.owner] += 1
            if all(had[owner] < count for owner, count in counts.items()):
                assert max(had.values()) - min(had[owner] for owner in counts) <= 1


@pytest.mark.parametrize("owner", [None, "a"])
def test_one_owner_alone_is_served_as_if_there_were_no_owners(owner: str | None) -> None:
    jobs = [job(owner) for _ in range(5)]
    assert waiting(1000, *jobs).next_batch() == ("observe", 1, jobs)
