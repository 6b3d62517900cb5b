from __future__ import annotations

import numpy as np

from service.engine.state_table import StateTable


def row(value: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.full(3, value, np.float32)


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
