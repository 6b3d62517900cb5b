from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import numpy as np
import pytest

from service.protocols.answering import json_in_turns, json_rows, to_json
from service.protocols.arrays import rows_or_null

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("count", [1, 255, 256, 257, 1000])
async def test_a_list_written_in_parts_is_the_list_written_at_once(count: int) -> None:
    rows = np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)
    rows[::7] = np.nan
    assert bytes(await json_rows(rows, rows_or_null)) == to_json(rows_or_null(rows))
    assert bytes(await json_rows(rows[:, 0])) == to_json(rows[:, 0])


async def test_others_get_their_turn_while_a_long_list_is_written() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    await json_rows(np.zeros(10_000, np.float32))
    task.cancel()
    assert turns > 30


class Told(msgspec.Struct, omit_defaults=True):
    values: Any
    within: Any = None


@pytest.mark.parametrize(
    "content",
    [
        Told(np.float32(1.5)),
        Told(np.array(2.5, np.float32), {"a": np.zeros(0, np.float32), "b": "\0", "c": [None, True]}),
        Told(np.arange(60_000, dtype=np.float32).reshape(3, 4, 5000), Told(np.array([np.nan, 1], np.float32))),
        Told(np.arange(25_000), [np.full((700, 50), np.inf), np.zeros((5, 0)), np.array([["é", ","]], object)]),
    ],
)
async def test_large_arrays_written_in_turns_are_what_is_written_at_once(content: Told) -> None:
    assert await json_in_turns(content) == to_json(content)


async def test_others_get_their_turn_while_many_arrays_are_written() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    await json_in_turns({str(index): np.zeros((2, 1000), np.float32) for index in range(200)})
    await json_in_turns([np.zeros((1000, 400), np.float32)])
    task.cancel()
    assert turns > 50
