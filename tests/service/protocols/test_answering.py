from __future__ import annotations

import asyncio

import numpy as np
import pytest

from service.protocols.answering import json_rows, to_json
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
