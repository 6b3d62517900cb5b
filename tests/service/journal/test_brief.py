"""Commits on the event loop: only while they are brief."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from service.journal.brief import BRIEF_SECONDS, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Brevity
from service.journal.sqlite import SqliteJournal
from tests.service.journal.entries import RECORDS, opening, step


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    return clock


def test_a_single_commit_that_takes_a_little_longer_changes_nothing(clock: Clock) -> None:
    brevity = Brevity()
    for _ in range(20):
        brevity.took(BRIEF_SECONDS / 10)
    brevity.took(4 * BRIEF_SECONDS)
    assert brevity.is_likely


@pytest.mark.parametrize("seconds", [[1.5 * BRIEF_SECONDS] * 20, [20 * BRIEF_SECONDS]])
def test_commits_that_take_long_are_followed_by_a_pause_and_another_try(clock: Clock, seconds: list[float]) -> None:
    brevity = Brevity()
    for taken in seconds:
        if brevity.is_likely:
            brevity.took(taken)
    assert not brevity.is_likely
    clock.now += 2 * FIRST_PAUSE_SECONDS + 20 * seconds[0]
    assert brevity.is_likely


def test_a_slow_disk_is_tried_ever_less_often_until_it_is_fast_again(clock: Clock) -> None:
    brevity = Brevity()
    tries = 0
    for _ in range(600):
        clock.now += 1.0
        if brevity.is_likely:
            tries += 1
            brevity.took(0.2)
    assert tries < 20
    clock.now += LONGEST_PAUSE_SECONDS
    for _ in range(3):
        assert brevity.is_likely
        brevity.took(BRIEF_SECONDS / 10)


def test_a_commit_is_made_on_the_spot_unless_somebody_else_is_at_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.journal.brief.BRIEF_SECONDS", 60.0)  # whoever else uses the disk meanwhile
    journal = SqliteJournal(tmp_path / "sessions.db", RECORDS)
    assert journal.commit_now([opening("a")]) == frozenset()
    assert journal.commit_now([step("a", 2)]) == {"a"}
    with journal._writing:
        assert journal.commit_now([step("a", 1)]) is None
    assert journal.commit_now([step("a", 1)]) == frozenset()
    assert (found := journal.load("a")) and found.position == 1
    journal.close()
