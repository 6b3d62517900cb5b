"""What is particular to the journal in memory; see test_journal.py for what it shares with the others."""

from __future__ import annotations

from service.journal import Entry
from service.journal.memory import MemoryJournal


def test_it_promises_nothing_beyond_the_process() -> None:
    journal = MemoryJournal()
    assert not journal.durable and not journal.shared and journal.trouble is None


def test_it_keeps_any_record_as_it_is() -> None:
    journal, record = MemoryJournal(), object()
    journal.commit([Entry("a", 1, b"row", record)])
    found = journal.load("a")
    assert found is not None and found.record is record
