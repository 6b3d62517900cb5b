from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from threading import Thread

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.engine import slots as slots_module
from service.engine.slots import Slots


def claimed(capacity: int, count: int) -> Slots:
    slots = Slots(capacity)
    for _ in range(count):
        slots.claim()
    return slots


def test_each_slot_is_handed_out_once_until_it_is_given_back() -> None:
    slots = Slots(3)
    assert [slots.claim() for _ in range(4)] == [0, 1, 2, None]
    slots.free(1)
    assert (slots.in_use, slots.claim(), slots.claim()) == (2, 1, None)


def test_the_least_recently_used_come_first() -> None:
    slots = claimed(5, 4)
    for slot in (2, 0, 3, 1):
        slots.touch(slot)
    assert list(slots.least_recently_used()) == [2, 0, 3, 1]


def test_all_slots_of_one_run_are_touched_at_once() -> None:
    slots = claimed(6, 6)
    slots.touch(np.array([0, 2, 4]))
    slots.touch([1])
    oldest_first = list(slots.least_recently_used())
    assert oldest_first[:2] == [3, 5] and sorted(oldest_first[2:5]) == [0, 2, 4] and oldest_first[5] == 1


def test_to_get_a_slot_is_to_use_it() -> None:
    slots = claimed(3, 3)
    slots.free(0)
    assert slots.claim() == 0
    assert list(slots.least_recently_used()) == [1, 2, 0]


def test_a_slot_that_nobody_has_is_not_among_those_in_use() -> None:
    slots = claimed(10, 4)
    slots.free(2)
    assert list(slots.least_recently_used()) == [0, 1, 3]


def test_an_empty_table_has_no_least_recently_used() -> None:
    assert list(Slots(5).least_recently_used()) == []


@pytest.mark.parametrize("count", [1, 7, 8, 9, 20, 24])
def test_a_table_larger_than_a_window_is_gone_through_whole_in_parts(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots_module, "_WINDOW", 8)
    slots = claimed(30, count)
    seen = list(slots.least_recently_used())
    assert sorted(set(seen)) == list(range(count))


def test_each_look_at_a_large_table_goes_on_where_the_last_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots_module, "_WINDOW", 4)
    slots = claimed(12, 12)
    assert [list(islice(slots.least_recently_used(), 2)) for _ in range(4)] == [[0, 1], [4, 5], [8, 9], [0, 1]]


def test_in_a_large_table_who_is_chosen_is_among_the_older_half(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots_module, "_WINDOW", 64)
    slots = claimed(1000, 1000)
    order = np.random.default_rng(0).permutation(1000)
    for slot in order:
        slots.touch(int(slot))
    age = {int(slot): place for place, slot in enumerate(order)}
    chosen = [next(slots.least_recently_used()) for _ in range(100)]
    assert max(age[slot] for slot in chosen) < 500


@given(st.lists(st.sampled_from(["claim", "free", "touch"]), max_size=60))
def test_who_is_used_is_known_whatever_happens(steps: Sequence[str]) -> None:
    slots, held, chooser = Slots(6), list[int](), np.random.default_rng(0)
    for step in steps:
        if step == "claim":
            slot = slots.claim()
            assert (slot is None) == (len(held) == 6)
            held += [] if slot is None else [slot]
        elif held and step == "free":
            slots.free(held.pop(int(chooser.integers(len(held)))))
        elif held:
            slot = held.pop(int(chooser.integers(len(held))))
            slots.touch(slot)
            held.append(slot)
    assert list(slots.least_recently_used()) == held and slots.in_use == len(held)


def test_one_thread_may_touch_while_another_claims_and_frees() -> None:
    slots = claimed(100, 50)

    def touch() -> None:
        for _ in range(2000):
            slots.touch(np.arange(50))

    toucher = Thread(target=touch)
    toucher.start()
    while toucher.is_alive():
        slot = slots.claim()
        assert slot is not None and slot >= 50
        slots.free(slot)
    toucher.join()
    assert sorted(slots.least_recently_used()) == list(range(50))
