from __future__ import annotations

from threading import Thread

from hypothesis import given
from hypothesis import strategies as st

from service.journal import Entry
from service.journal.memory import MemoryJournal


def entry(session_id: str, position: int, row: bytes = b"row") -> Entry:
    return Entry(session_id, position, row, record=None)


def test_the_last_entry_of_a_session_is_kept() -> None:
    journal = MemoryJournal()
    journal.commit([entry("a", 1), entry("b", 7)])
    journal.commit([entry("a", 2)])
    assert journal.load("a") == entry("a", 2) and journal.load("b") == entry("b", 7)


def test_what_was_never_stored_is_not_there() -> None:
    assert MemoryJournal().load("a") is None


def test_removed_sessions_are_forgotten_and_unknown_ones_ignored() -> None:
    journal = MemoryJournal()
    journal.commit([entry("a", 1), entry("b", 1)])
    journal.remove(["a", "never"])
    journal.remove(["a"])
    assert journal.load("a") is None and journal.load("b") == entry("b", 1)


def test_memory_promises_nothing_beyond_the_process() -> None:
    assert not MemoryJournal().durable


Step = tuple[str, str, bytes]


@given(st.lists(st.tuples(st.sampled_from(["commit", "remove"]), st.sampled_from("abc"), st.binary(max_size=9))))
def test_the_journal_is_a_dictionary_that_knows_its_size(steps: list[Step]) -> None:
    journal, model = MemoryJournal(), dict[str, bytes]()
    for number, (what, session_id, row) in enumerate(steps):
        if what == "commit":
            journal.commit([entry(session_id, number, row)])
            model[session_id] = row
        else:
            journal.remove([session_id])
            model.pop(session_id, None)
    for session_id in "abc":
        found = journal.load(session_id)
        assert (None if found is None else found.row) == model.get(session_id)


def test_threads_may_commit_and_remove_at_once() -> None:
    journal = MemoryJournal()

    def work(name: str) -> None:
        for number in range(500):
            journal.commit([entry(name, number, b"x" * (number % 7))])
            if number % 3 == 0:
                journal.remove([name])

    threads = [Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found.position if (found := journal.load(name)) else None for name in "abcd"] == [499] * 4
