from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from service.engine.state_table import StateTable

STATUS = Path("/proc/self/status")


def row(value: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.full(3, value, np.float32)


def resident_bytes() -> int:
    return 1024 * int(re.findall(r"VmRSS:\s+(\d+)", STATUS.read_text())[0])


def test_rows_are_taken_and_put_by_slot() -> None:
    table = StateTable(width=3, capacity=4)
    slots = [table.acquire(row(value)) for value in (1, 2)]
    assert slots == [0, 1]
    table.put([1, 0], np.stack([row(20), row(10)]))
    assert table.take([0, 1]).tolist() == [[10] * 3, [20] * 3]


def test_what_is_taken_is_a_copy() -> None:
    table = StateTable(width=3, capacity=1)
    table.acquire(row(1))
    table.take([0])[:] = 9
    assert table.take([0]).tolist() == [[1] * 3]


def test_rows_are_taken_into_an_array_that_is_there_already() -> None:
    table = StateTable(width=3, capacity=4)
    for value in range(4):
        table.acquire(row(value))
    staging = np.full((5, 3), -1, np.float32)
    taken = table.take(np.array([3, 1]), out=staging[:2])
    assert np.shares_memory(taken, staging)
    assert staging.tolist() == [[3] * 3, [1] * 3] + [[-1] * 3] * 3


@pytest.mark.skipif(not STATUS.exists(), reason="the system tells no process what memory it has")
def test_a_large_table_takes_no_memory_before_it_is_used() -> None:
    table = StateTable(width=512, capacity=1_000_000)
    before = resident_bytes()
    for value in range(100):
        table.acquire(np.full(512, value, np.float32))
    assert table.take([99]).tolist() == [[99] * 512]
    assert resident_bytes() - before < 20 * 2**20


def test_a_full_table_gives_no_slot_until_one_is_released() -> None:
    table = StateTable(width=3, capacity=2)
    table.acquire(row(1))
    table.acquire(row(2))
    assert table.acquire(row(3)) is None
    table.release(0)
    assert table.acquire(row(3)) == 0
    assert table.in_use == 2


def test_a_released_slot_holds_nothing_of_its_last_session() -> None:
    table = StateTable(width=3, capacity=2)
    table.acquire(row(7))
    table.release(0)
    assert table.take([0]).tolist() == [[0] * 3]
