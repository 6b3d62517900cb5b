from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.engine.job import Job, Outcome, Result, future_of
from service.engine.run import Run
from service.errors import Overloaded

pytestmark = pytest.mark.anyio


def run_of(*numbers: float) -> Run:
    """A run of one row whose samples are these numbers, and whose last is the row."""
    samples = np.array([numbers], np.float32)
    return Run({"samples": samples}, samples[:, -1:], len(numbers))


def at(value: float) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.array([[value]], np.float32)


async def test_pieces_are_joined_along_time() -> None:
    job = Job("generate", 3, {}, rows=at(0))
    assert job.advance(run_of(1, 2), 0) is None
    assert not job.finished and job.rows is not None and job.rows.tolist() == [[2]]
    result = job.advance(run_of(3), 0)
    assert job.finished and result is not None
    assert result.outputs["samples"].tolist() == [[1, 2, 3]] and result.rows.tolist() == [[3]] and result.steps == 3


async def test_a_job_takes_its_own_rows_of_a_run() -> None:
    samples = np.arange(10, dtype=np.float32).reshape(5, 2)
    job = Job("generate", 2, {}, rows=np.zeros((2, 1), np.float32))
    result = job.advance(Run({"samples": samples}, samples[:, :1] + 100, 2), 3)
    assert result is not None and result.outputs["samples"].tolist() == [[6, 7], [8, 9]]
    assert result.rows.tolist() == [[106], [108]]


@pytest.mark.parametrize("certain", [True, False])
async def test_a_job_commits_where_all_that_it_gave_is_as_it_should_be(certain: bool) -> None:
    seen: list[list[list[float]]] = []

    def look(outputs: dict[str, NDArray[Any]]) -> bool:
        seen.append(outputs["samples"].tolist())
        return certain

    commit: Any = object()
    job = Job("generate", 3, {}, commit=commit, commit_if=look)
    assert job.advance(run_of(1, 2), 0) is None and job.commit is commit and not job.ends_here(1)
    result = job.advance(run_of(3), 0)
    assert seen == [[[1, 2, 3]]] and result is not None and result.rows.tolist() == [[3]]
    assert (job.commit is commit) == certain


async def test_a_job_without_rows_of_its_own_is_one_row_wide() -> None:
    assert Job("observe", 1, {}).width == 1
    assert Job("observe", 1, {}, rows=np.zeros((5, 2), np.float32)).width == 5


async def test_a_job_is_settled_once() -> None:
    told: list[Outcome] = []
    job = Job("observe", 1, {}, rows=at(0), then=told.append)
    result = Result(run_of(1), 1)
    job.settle(result)
    job.settle(Overloaded("too late"))
    assert told == [result] and job.settled


async def test_a_future_answers_when_the_job_is_settled() -> None:
    job = Job("observe", 1, {}, rows=at(0))
    answer = future_of(job)
    job.settle(result := Result(run_of(1), 1))
    assert await answer is result


async def test_cancelling_the_future_drops_the_job() -> None:
    job = Job("observe", 1, {}, rows=at(0))
    future_of(job).cancel()
    await asyncio.sleep(0)
    assert job.cancelled


async def test_an_error_nobody_waits_for_is_no_news() -> None:
    problems: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: problems.append(context))
    job = Job("observe", 1, {}, rows=at(0))
    future_of(job)
    job.settle(Overloaded("nobody there"))
    del job
    await asyncio.sleep(0)
    assert not problems


async def test_an_answer_may_come_after_whoever_waited_has_gone() -> None:
    job = Job("observe", 1, {}, rows=at(0))
    answer = future_of(job)
    answer.cancel()
    job.settle(Result(run_of(1), 1))
    assert answer.cancelled()
