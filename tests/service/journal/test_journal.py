"""What every journal promises, asked of each kind."""

from __future__ import annotations

import time
from threading import Thread
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from numpy.typing import NDArray

from service.journal import ANYWHERE, NOWHERE, Entry, Journal, Listed, clock, draw_epoch
from tests.service.journal.entries import EPOCH, Remembered, opening, step


def listed(journal: Journal, limit: int = 100) -> list[Listed]:
    """Every session that lives, page by page."""
    found, after = journal.page("", limit)
    while after:
        page, after = journal.page(after, limit)
        found += page
    return found


def test_an_entry_comes_back_whole(journal: Journal) -> None:
    outputs: dict[str, NDArray[Any]] = {
        "pit": np.array([0.25, np.nan], np.float32),
        "tokens": np.arange(6).reshape(2, 3),
    }
    record = Remembered("pjm-load/3", np.datetime64("2024-07-01T05", "h"), outputs)
    entry = Entry("a", 41, bytes(range(256)), record, draw_epoch(), NOWHERE, clock.now() + 60)
    assert not journal.commit([entry])
    found = journal.load("a")
    assert found is not None and found.previous == 41
    assert replace(found, record=None, previous=NOWHERE) == replace(entry, record=None)
    assert (found.record.model, found.record.started) == (record.model, record.started)
    assert found.record.outputs.keys() == outputs.keys()
    for name, values in found.record.outputs.items():
        assert values.dtype == outputs[name].dtype and values.tobytes() == outputs[name].tobytes()


def test_a_session_that_never_was_is_not_there(journal: Journal) -> None:
    assert journal.load("a") is None


def test_steps_follow_each_other(journal: Journal) -> None:
    assert not journal.commit([opening("a"), opening("b")])
    assert not journal.commit([step("a", 1), step("b", 1)])
    assert not journal.commit([step("a", 2)])
    assert [(found.position, found.row) for name in "ab" if (found := journal.load(name))] == [
        (2, b"row 2"),
        (1, b"row 1"),
    ]


def test_a_loaded_entry_says_where_the_next_one_is_to_follow(journal: Journal) -> None:
    journal.commit([opening("a")])
    found = journal.load("a")
    assert found is not None
    assert not journal.commit([replace(found, position=5, row=b"later")])


def test_a_stale_step_is_refused_and_the_others_are_stored(journal: Journal) -> None:
    journal.commit([opening("a"), opening("b")])
    journal.commit([step("a", 1, b"faster")])
    assert journal.commit([step("a", 1, b"slower"), step("b", 1)]) == {"a"}
    assert (found := journal.load("a")) and found.row == b"faster"
    assert (found := journal.load("b")) and found.position == 1


def test_a_step_of_an_earlier_opening_is_refused(journal: Journal) -> None:
    journal.commit([opening("a", epoch=1)])
    journal.remove(["a"])
    journal.commit([opening("a", epoch=2)])
    assert journal.commit([step("a", 1, epoch=1)]) == {"a"}
    assert not journal.commit([step("a", 1, epoch=2)])


def test_a_step_of_a_closed_session_is_refused(journal: Journal) -> None:
    journal.commit([opening("a")])
    journal.remove(["a"])
    assert journal.commit([step("a", 1)]) == {"a"}
    assert journal.load("a") is None


def test_an_id_in_use_cannot_be_opened(journal: Journal) -> None:
    journal.commit([opening("a", b"first")])
    assert journal.commit([opening("a", b"second", epoch=8)]) == {"a"}
    assert (found := journal.load("a")) and found.row == b"first"


def test_whoever_knows_nothing_of_the_past_may_say_so(journal: Journal) -> None:
    for position in (3, 1):
        assert not journal.commit([Entry("a", position, b"", Remembered(), EPOCH, ANYWHERE)])
    assert (found := journal.load("a")) and found.position == 1


def test_a_session_without_an_end_never_expires(journal: Journal) -> None:
    journal.commit([Entry("a", 0, b"", Remembered())])
    assert (found := journal.load("a")) and found.expires == float("inf")
    assert [(one.session_id, one.expires) for one in listed(journal)] == [("a", float("inf"))]


def test_an_expired_session_is_told_from_one_that_never_was(journal: Journal) -> None:
    journal.commit([opening("a", lives_s=0.05)])
    time.sleep(0.1)
    assert (found := journal.load("a")) and found.expires < clock.now()
    assert listed(journal) == []


def test_an_expired_id_can_be_opened_again(journal: Journal) -> None:
    journal.commit([opening("a", lives_s=0.05)])
    time.sleep(0.1)
    assert not journal.commit([opening("a", b"again", epoch=8)])
    assert (found := journal.load("a")) and (found.row, found.epoch) == (b"again", 8)
    assert journal.commit([step("a", 1)]) == {"a"}
    assert not journal.commit([step("a", 1, epoch=8)])


def test_a_use_without_a_commit_lets_a_session_live_longer(journal: Journal) -> None:
    until = clock.now() + 7200
    journal.commit([opening("a", lives_s=0.2), opening("b")])
    journal.extend({"a": until, "b": clock.now() + 1, "never": until})
    time.sleep(0.25)
    assert journal.sweep() == []
    assert (found := journal.load("a")) and found.expires == until and found.row == b"row 0"
    assert (found := journal.load("b")) and found.expires > clock.now() + 3000
    assert journal.load("never") is None
    assert not journal.commit([step("a", 1)])


def test_removed_sessions_are_forgotten_and_unknown_ones_ignored(journal: Journal) -> None:
    journal.commit([opening("a"), opening("b")])
    journal.remove(["a", "never"])
    journal.remove(["a"])
    assert journal.load("a") is None and journal.load("b") is not None


def test_every_session_is_listed_a_page_at_a_time(journal: Journal) -> None:
    names = [f"s{number}" for number in range(25)]
    for name in names:
        journal.commit([opening(name)])
    journal.commit([step("s3", 1)])
    journal.remove(["s7"])
    found = listed(journal, 10)
    assert {one.session_id for one in found} == set(names) - {"s7"}
    assert {one.position for one in found if one.session_id == "s3"} == {1}


def test_a_list_may_be_of_those_alone_whose_ids_begin_alike(journal: Journal) -> None:
    names = ["a", "a.b/1", "a/1", "a/2", "a/3", "a0", "aa/1", "b/1", "z"]
    for name in names:
        journal.commit([opening(name)])
    for prefix in ("", "a/", "a.b/", "b/", "c/"):
        found, after = journal.page("", 2, prefix)
        while after:
            page, after = journal.page(after, 2, prefix)
            found += page
        assert {one.session_id for one in found} == {name for name in names if name.startswith(prefix)}


def test_a_secret_is_drawn_once(journal: Journal) -> None:
    secret = journal.secret("snapshots")
    assert len(secret) == 32 and journal.secret("snapshots") == secret != journal.secret("other")
    assert listed(journal) == []


def test_threads_may_commit_load_and_remove_at_once(journal: Journal) -> None:
    def work(name: str) -> None:
        epoch = draw_epoch()
        assert not journal.commit([opening(name, epoch=epoch)])
        for position in range(1, 60):
            assert not journal.commit([step(name, position, epoch=epoch)])
            assert (found := journal.load(name)) and found.position == position
            journal.tend()
        journal.remove([name + "'s friend"])

    threads = [Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found.position if (found := journal.load(name)) else None for name in "abcd"] == [59] * 4


Operation = tuple[str, str, int]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["open", "step", "stale", "remove", "tend"]), st.sampled_from("abc"), st.integers(0, 40)
        )
    )
)
@pytest.mark.parametrize("journal", ["sqlite", "memory"], indirect=True)
def test_a_journal_is_a_dictionary_that_compares_before_it_sets(journal: Journal, operations: list[Operation]) -> None:
    journal.remove("abc")
    model: dict[str, tuple[int, int, bytes]] = {}
    for number, (what, name, size) in enumerate(operations):
        epoch, position, _ = model.get(name, (number, 1, b""))
        row = bytes([number % 256]) * size
        if what == "open":
            assert journal.commit([opening(name, row, number)]) == ({name} if name in model else set())
            model.setdefault(name, (number, 0, row))
        elif what == "step":
            assert journal.commit([step(name, position + 1, row, epoch)]) == (set() if name in model else {name})
            if name in model:
                model[name] = (epoch, position + 1, row)
        elif what == "stale":
            assert journal.commit([step(name, position, row, epoch)]) == {name}
        elif what == "remove":
            journal.remove([name])
            model.pop(name, None)
        else:
            journal.tend()
    for name in "abc":
        found = journal.load(name)
        assert (None if found is None else (found.epoch, found.position, found.row)) == model.get(name)
