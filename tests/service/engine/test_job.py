from __future__ import annotations

import asyncio

import numpy as np
import pytest

from service.engine.job import Job, Result
from service.errors import Overloaded

pytestmark = pytest.mark.anyio


def steps_of(*numbers: float) -> dict[str, np.ndarray[tuple[int, int], np.dtype[np.float32]]]:
    return {"samples": np.array([numbers], np.float32)}


def at(value: float) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.array([[value]], np.float32)


async def test_pieces_are_joined_along_time() -> None:
    job = Job("generate", 3, {}, rows=at(0))
    job.advance(steps_of(1, 2), at(2))
    assert not job.finished
    job.advance(steps_of(3), at(3))
    assert job.finished
    result = job.result()
    assert result.outputs["samples"].tolist() == [[1, 2, 3]] and result.rows.tolist() == [[3]] and result.steps == 3


async def test_a_piece_that_went_too_far_is_taken_again_up_to_the_end() -> None:
    job = Job("generate", 6, {}, rows=at(0), accept=lambda outputs: 1 if (outputs["samples"] == 3).any() else None)
    job.advance(steps_of(1, 2), at(2))
    job.advance(steps_of(3, 4, 5, 6), at(6))
    assert (job.done, job.steps) == (2, 3) and job.rows is not None and job.rows.tolist() == [[2]]
    job.advance(steps_of(3), at(3))
    assert job.result().outputs["samples"].tolist() == [[1, 2, 3]]


async def test_a_piece_that_ends_just_where_it_should_is_the_last() -> None:
    job = Job("generate", 6, {}, rows=at(0), accept=lambda outputs: 2 if (outputs["samples"] == 2).any() else None)
    job.advance(steps_of(1, 2), at(2))
    assert job.finished and job.result().outputs["samples"].tolist() == [[1, 2]]


async def test_a_job_without_rows_of_its_own_is_one_row_wide() -> None:
    assert Job("observe", 1, {}).width == 1
    assert Job("observe", 1, {}, rows=np.zeros((5, 2), np.float32)).width == 5


async def test_a_job_is_answered_once() -> None:
    job = Job("observe", 1, {}, rows=at(0))
    result = Result({}, at(0), 1)
    job.settle(result)
    job.settle(Overloaded("too late"))
    assert await job.answer is result


async def test_an_error_nobody_waits_for_is_no_news() -> None:
    problems: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: problems.append(context))
    job = Job("observe", 1, {}, rows=at(0))
    job.settle(Overloaded("nobody there"))
    del job
    await asyncio.sleep(0)
    assert not problems


async def test_an_answer_may_come_after_whoever_waited_has_gone() -> None:
    job = Job("observe", 1, {}, rows=at(0))
    job.answer.cancel()
    job.settle(Result({}, at(0), 1))
    assert job.answer.cancelled()
