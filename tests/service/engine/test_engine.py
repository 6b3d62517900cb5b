from __future__ import annotations

import asyncio
import threading
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.engine.job import Job, Result
from service.errors import StepFailed
from service.journal.memory import MemoryJournal
from service.models.model import Model
from service.models.repository import Repository
from tests.known_graphs import FAILING_VALUE
from tests.known_models import RUNNING_SUM
from tests.service.conftest import PAIRED_SUM
from tests.service.engine.building import (
    Committed,
    engine_of,
    observe,
    outcome,
    row,
)
from tests.service.running import DurableJournal, Watch, gated, until

pytestmark = pytest.mark.anyio


def medians(result: Result) -> list[float]:
    """The sum predicted at each step of a running sum of one row; NaN before the first observation."""
    centres: list[float] = result.outputs["quantiles"][0, :, 1].tolist()
    return centres


async def test_a_job_gives_every_step_and_the_row_after_the_last(model: Model) -> None:
    async with engine_of(model) as engine:
        result = await engine.submit(observe([1, 2, 3, 4], model=model))
    assert medians(result)[1:] == [1, 3, 6] and np.isnan(medians(result)[0])
    assert result.steps == 4
    assert result.rows.tolist() == [[6, 0, 4]]


async def test_a_job_of_a_session_starts_from_its_row_and_commits_it(model: Model) -> None:
    journal = DurableJournal()
    async with engine_of(model, journal=journal) as engine:
        commit = Committed(engine.table.acquire(model.initial()) or 0)
        await engine.submit(observe([1, 2], commit))
        await engine.submit(observe([3], commit))
        assert engine.table.take([commit.slot]).tolist() == [[3, 0, 3]]
        entry = journal.load("session")
        assert entry is not None and entry.row == row(3, 0, 3).tobytes()
        assert [applied.steps for applied in commit.applied] == [2, 1]


async def test_a_job_with_rows_of_its_own_changes_no_session(model: Model) -> None:
    async with engine_of(model) as engine:
        slot = engine.table.acquire(row(7, 0, 1))
        await engine.submit(observe([5, 5], model=model))
        assert slot == 0 and engine.table.take([0]).tolist() == [[7, 0, 1]]


async def test_a_session_is_moved_before_its_answer_and_after_the_journal_has_it(model: Model) -> None:
    order: list[str] = []

    class Noting(DurableJournal):
        def commit(self, entries: Any) -> AbstractSet[str]:
            order.append("journal")
            return super().commit(entries)

    class NotingCommit(Committed):
        def apply(self, result: Result) -> None:
            order.append("session")

    async with engine_of(model, journal=Noting()) as engine:
        await engine.submit(observe([1], NotingCommit(engine.table.acquire(model.initial()) or 0)))
        order.append("answer")
    assert order == ["journal", "session", "answer"]


async def test_a_journal_that_dies_with_the_process_is_not_told_of_commits(model: Model) -> None:
    journal = MemoryJournal()
    async with engine_of(model, journal=journal) as engine:
        commit = Committed(engine.table.acquire(model.initial()) or 0)
        await engine.submit(observe([1, 2], commit))
        assert journal.load("session") is None
        assert engine.table.take([commit.slot]).tolist() == [[1, 0, 2]]


async def test_jobs_that_wait_together_run_together(model: Model) -> None:
    watch = Watch()
    async with engine_of(model, watch) as engine:
        with gated(model) as gate:
            gate.close()
            first = engine.submit(observe([0], model=model))
            await gate.entered()
            others = [engine.submit(observe([value], model=model)) for value in range(10)]
            gate.open()
            await asyncio.gather(first, *others)
    assert watch.runs == [("observe", 1, 1), ("observe", 10, 10)]


async def test_rows_of_one_run_do_not_mix(model: Model) -> None:
    async with engine_of(model) as engine:
        commits = [Committed(engine.table.acquire(row(value, 0, value)) or 0, str(value)) for value in range(8)]
        results = await asyncio.gather(*(engine.submit(observe([0], commit)) for commit in commits))
        assert [medians(result) for result in results] == [[2.0 * value] for value in range(8)]
        assert engine.table.take([commit.slot for commit in commits])[:, 0].tolist() == [2.0 * v for v in range(8)]


async def test_a_failed_run_answers_everyone_in_it_and_changes_no_state(model: Model) -> None:
    watch, journal = Watch(), DurableJournal()
    async with engine_of(model, watch, journal) as engine:
        commits = [Committed(engine.table.acquire(row(value, 0, 1)) or 0, str(value)) for value in range(3)]
        with gated(model) as gate:
            gate.close()
            blocker = engine.submit(observe([0], model=model))
            await gate.entered()
            values = [1.0, FAILING_VALUE, 3.0]
            waiting = [engine.submit(observe([v], c)) for v, c in zip(values, commits, strict=True)]
            gate.open()
            outcomes = [await outcome(answer) for answer in waiting]
        await blocker
        assert all(isinstance(one, StepFailed) for one in outcomes)
        assert engine.table.take([0, 1, 2]).tolist() == [[0, 0, 1], [1, 0, 1], [2, 0, 1]]
        assert not any(commit.applied for commit in commits)
        assert all(journal.load(commit.name) is None for commit in commits)
        assert watch.events["run failed"] == 1
        # and others go on
        assert medians(await engine.submit(observe([5], commits[0]))) == [1]


async def test_a_run_that_fails_late_in_a_long_input_changes_no_state(model: Model) -> None:
    async with engine_of(model) as engine:
        commit = Committed(engine.table.acquire(row(4, 0, 2)) or 0)
        assert isinstance(await outcome(engine.submit(observe([1.0] * 300 + [FAILING_VALUE], commit))), StepFailed)
        assert engine.table.take([commit.slot]).tolist() == [[4, 0, 2]] and not commit.applied


@pytest.mark.filterwarnings("default")
async def test_an_exception_nobody_foresaw_is_answered_without_details(
    model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(outputs: dict[str, NDArray[Any]]) -> bool:
        raise RuntimeError("a secret")

    async with engine_of(model) as engine:
        job = observe([1], model=model)
        job.commit_if = refuse
        error = await outcome(engine.submit(job))
        assert isinstance(error, StepFailed) and "secret" not in error.message
        assert "a secret" in caplog.text
        await engine.submit(observe([1], model=model))


async def test_a_long_input_does_not_hold_up_single_steps(model: Model) -> None:
    watch = Watch()
    async with engine_of(model, watch) as engine:
        with gated(model) as gate:
            gate.close()
            long = [engine.submit(observe([1] * 5000, model=model)) for _ in range(3)]
            await gate.entered()
            single = engine.submit(observe([1], model=model))
            gate.open()
            await single
            assert watch.runs[1] == ("observe", 1, 1), "it waited for more than the run that was on"
            assert [(await result).rows.tolist() for result in long] == [[[4999, 0, 1]]] * 3


async def test_a_long_input_is_cut_without_a_trace(model: Model) -> None:
    values = np.random.default_rng(0).normal(size=333).astype(np.float32)
    async with engine_of(model) as engine:
        whole = await engine.submit(observe(values.tolist(), model=model))
        commit = Committed(engine.table.acquire(model.initial()) or 0)
        steps = [await engine.submit(observe([value], commit)) for value in values.tolist()]
        assert whole.outputs["pit"].tobytes() == np.concatenate([s.outputs["pit"] for s in steps], 1).tobytes()
        assert whole.rows.tobytes() == engine.table.take([commit.slot]).tobytes()


async def test_jobs_of_several_rows_keep_their_rows_apart(known: Repository) -> None:
    model = known.get(RUNNING_SUM)
    draws = np.random.default_rng(1).uniform(0.1, 0.9, (50, 30)).astype(np.float32)
    rows = np.tile(row(3, 0, 1), (50, 1))
    async with engine_of(model) as engine:
        wide = await engine.submit(Job("generate", 30, {"uniforms": draws}, rows=rows))
        alone = [
            await engine.submit(Job("generate", 30, {"uniforms": draws[i : i + 1]}, rows=rows[:1])) for i in (0, 7, 49)
        ]
    for index, one in zip((0, 7, 49), alone, strict=True):
        assert wide.outputs["samples"][index].tobytes() == one.outputs["samples"][0].tobytes()
        assert wide.rows[index].tobytes() == one.rows[0].tobytes()


@pytest.mark.parametrize("certain", [True, False])
async def test_a_job_that_does_not_commit_after_all_leaves_its_session_where_it_is(model: Model, certain: bool) -> None:
    async with engine_of(model, journal=DurableJournal()) as engine:
        commit = Committed(engine.table.acquire(row(4, 0, 2)) or 0)
        job = observe([1.0] * 300, commit)
        job.commit_if = lambda outputs: certain and outputs["pit"].shape == (1, 300)
        result = await engine.submit(job)
        assert result.rows.tolist() == [[305, 0, 1]]
        assert engine.table.take([commit.slot]).tolist() == ([[305, 0, 1]] if certain else [[4, 0, 2]])
        assert bool(commit.applied) == certain


class FailingWatch(Watch):
    """Fails when it is told of the queue."""

    failing = True

    def on_queue(self, model: str, depth: int) -> None:
        if self.failing:
            raise RuntimeError("no more labels")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_whoever_counts_cannot_bring_the_engine_down(model: Model) -> None:
    watch = FailingWatch()
    async with engine_of(model, watch) as engine:
        answer = engine.submit(observe([1], model=model))
        async with asyncio.timeout(2):
            await outcome(answer)
        watch.failing = False
        async with asyncio.timeout(2):
            await engine.submit(observe([1], model=model))


async def test_small_batches_are_padded_where_the_model_needs_it(known: Repository) -> None:
    model = known.get(PAIRED_SUM)
    async with engine_of(model) as engine:
        commit = Committed(engine.table.acquire(model.initial()) or 0)
        result = await engine.submit(observe([1, 2, 3], model=model))
        await engine.submit(observe([1, 2, 3], commit))
        assert result.rows.tolist() == [[3, 0, 3]] and result.outputs["pit"].shape == (1, 3)
        assert engine.table.take([commit.slot]).tolist() == [[3, 0, 3]]


async def test_a_run_may_hold_rows_of_sessions_and_rows_of_jobs(model: Model) -> None:
    async with engine_of(model) as engine:
        commits = [Committed(engine.table.acquire(row(value, 0, 1)) or 0, str(value)) for value in (10, 20)]
        with gated(model) as gate:
            gate.close()
            first = engine.submit(observe([0], model=model))
            await gate.entered()
            wide = Job(
                "observe", 1, {"target": np.ones((2, 1), np.float32)}, rows=np.stack([row(5, 0, 2), row(6, 0, 3)])
            )
            waiting = [
                engine.submit(observe([1], commits[0])),
                engine.submit(wide),
                engine.submit(observe([1], commits[1])),
            ]
            gate.open()
            await first
            results = await asyncio.gather(*waiting)
        assert results[1].rows.tolist() == [[7, 0, 1], [9, 0, 1]]
        assert engine.table.take([commit.slot for commit in commits]).tolist() == [[11, 0, 1], [21, 0, 1]]


async def test_a_brief_run_that_nobody_is_before_is_made_on_the_event_loop(model: Model) -> None:
    threads: list[int] = []
    graph = model.graphs["observe"]
    execute = graph.execute

    def noting(*given: Any) -> None:
        threads.append(threading.get_ident())
        execute(*given)

    here = threading.get_ident()
    graph.__dict__["execute"] = noting
    try:
        async with engine_of(model) as engine:
            await engine.submit(observe([1], model=model))
            await engine.submit(observe([1, 2], model=model))
            await asyncio.gather(*(engine.submit(observe([1], model=model)) for _ in range(500)))
    finally:
        del graph.__dict__["execute"]
    assert threads[0] == here
    assert here not in threads[1:], "two steps, and a crowd, are for the engine's own thread"


async def test_every_finished_job_counts_in_the_queue_once(model: Model) -> None:
    watch = Watch()
    async with engine_of(model, watch) as engine:
        await asyncio.gather(*(engine.submit(observe([1] * steps, model=model)) for steps in (1, 2, 5, 90)))
        await until(lambda: not engine._waiting)
