"""A journal whose file another process still holds when the service starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.errors import JournalUnavailable
from service.journal.late import LateJournal
from service.journal.sqlite import SqliteJournal
from service.journal.sqlite_file import JournalError
from tests.service.journal.entries import RECORDS, opening, step


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


def opened(path: Path) -> SqliteJournal:
    return SqliteJournal(path, RECORDS, patience_s=0)


def late(path: Path) -> LateJournal:
    with pytest.raises(JournalError) as refusal:
        opened(path)
    return LateJournal(lambda: opened(path), refusal.value)


def test_everything_is_refused_with_the_reason_until_the_file_is_free(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.journal.late.HELD_SECONDS", 0.0)
    first = opened(path)
    first.commit([opening("a")])
    second = late(path)
    second.tend()
    assert second.trouble is not None and "another process holds it" in second.trouble
    for refused in (lambda: second.commit([step("a", 1)]), lambda: second.load("a"), lambda: second.secret("key")):
        with pytest.raises(JournalUnavailable, match="another process holds it"):
            refused()
    assert second.commit_now([step("a", 1)]) is None and second.sweep() == [] and not second.is_untidy
    first.close()
    second.tend()
    assert second.trouble is None
    assert (found := second.load("a")) and found.position == 0
    assert not second.commit([step("a", 1)]) and second.page("", 10)[0][0].position == 1
    second.close()


def test_a_process_that_ends_before_its_turn_leaves_the_file_alone(path: Path) -> None:
    first = opened(path)
    second = late(path)
    second.close()
    first.close()
    second._try_again()
    opened(path).close()


def test_what_an_operator_has_to_see_to_is_tried_less_often(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.journal.late.HELD_SECONDS", 0.0)
    path.write_text("shopping list")
    journal = late(path)
    path.unlink()
    journal.tend()
    with pytest.raises(JournalUnavailable, match="no SQLite database") as refused:
        journal.load("a")
    assert refused.value.retry_after_s == 60
    journal._try_at = 0.0
    journal.tend()
    assert journal.trouble is None and journal.load("a") is None
    journal.close()
