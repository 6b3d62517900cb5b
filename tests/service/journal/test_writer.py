"""The thread that commits for all: grouping, order, what is kept, and who is told."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from threading import Event, Lock

import pytest

from service.errors import JournalUnavailable
from service.journal import Entry, Journal
from service.journal.location import open_journal
from service.journal.memory import MemoryJournal
from service.journal.writer import Decision, Writer
from tests.service.journal.entries import RECORDS, opening, step

PATIENCE_S = 20.0


class Told:
    """What a submission was told, when it is."""

    def __init__(self) -> None:
        self._event = Event()
        self._decision: Decision | None = None

    def __call__(self, decision: Decision) -> None:
        self._decision = decision
        self._event.set()

    def decision(self) -> Decision:
        assert self._event.wait(PATIENCE_S), "nobody was told"
        assert self._decision is not None
        return self._decision


class SlowJournal(MemoryJournal):
    """Writes down what it is given, and can be held up or out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[list[str]] = []
        self.gate = Lock()
        self.failing = False

    def commit(self, entries: Sequence[Entry]) -> AbstractSet[str]:
        with self.gate:
            if self.failing:
                raise JournalUnavailable("out of order", retry_after_s=0.05)
            self.commits.append([f"{entry.session_id}{entry.position}" for entry in entries])
            return super().commit(entries)


@pytest.fixture
def journal() -> SlowJournal:
    return SlowJournal()


@pytest.fixture
def refused() -> list[str]:
    return []


@pytest.fixture
def writer(journal: SlowJournal, refused: list[str]) -> Iterator[Writer]:
    writer = Writer(journal, refused.extend)
    yield writer
    writer.close(PATIENCE_S)


def submitted(writer: Writer, *entries: Entry) -> Told:
    told = Told()
    writer.submit(entries, told)
    return told


def test_whoever_waits_is_told_when_it_is_stored(writer: Writer, journal: SlowJournal) -> None:
    assert submitted(writer, opening("a")).decision() == set()
    assert journal.load("a") is not None


def test_what_arrives_during_a_commit_goes_into_the_next_one_together(writer: Writer, journal: SlowJournal) -> None:
    with journal.gate:
        first = submitted(writer, opening("a"))
        wait_until_taken(writer)
        others = [submitted(writer, opening(name)) for name in "bcd"]
    assert [told.decision() for told in (first, *others)] == [set()] * 4
    assert journal.commits == [["a0"], ["b0", "c0", "d0"]]


def test_several_steps_of_one_session_are_stored_as_its_last(writer: Writer, journal: SlowJournal) -> None:
    submitted(writer, opening("a")).decision()
    with journal.gate:
        submitted(writer, opening("x"))
        wait_until_taken(writer)
        steps = [submitted(writer, step("a", position)) for position in (1, 2, 3)]
    assert [told.decision() for told in steps] == [set()] * 3
    assert journal.commits[-1] == ["a3"]


def test_everyone_is_told_of_their_own_sessions_only(writer: Writer, journal: SlowJournal) -> None:
    submitted(writer, opening("a"), opening("b")).decision()
    with journal.gate:
        submitted(writer, opening("x"))
        wait_until_taken(writer)
        stale, fine = submitted(writer, step("a", 5)), submitted(writer, step("b", 1))
    assert stale.decision() == {"a"} and fine.decision() == set()


def test_an_id_that_is_closed_and_used_again_keeps_its_order(writer: Writer, journal: SlowJournal) -> None:
    with journal.gate:
        submitted(writer, opening("x"))
        wait_until_taken(writer)
        submitted(writer, opening("a", b"first", epoch=1))
        writer.remove(["a"])
        last = submitted(writer, opening("a", b"second", epoch=2))
    assert last.decision() == set()
    assert (found := journal.load("a")) and found.row == b"second"


def test_a_failure_is_told_to_all_who_wait_and_the_next_commit_is_tried(writer: Writer, journal: SlowJournal) -> None:
    journal.failing = True
    assert isinstance(submitted(writer, opening("a")).decision(), JournalUnavailable)
    journal.failing = False
    assert submitted(writer, opening("a")).decision() == set()


def test_what_nobody_waits_for_is_kept_until_it_is_stored(writer: Writer, journal: SlowJournal) -> None:
    submitted(writer, opening("a")).decision()
    journal.failing = True
    for position in (1, 2, 3):
        writer.submit([step("a", position)])
        assert isinstance(submitted(writer, opening(f"x{position}")).decision(), JournalUnavailable)
    assert writer.lag().waiting == 1 and writer.lag().seconds > 0
    journal.failing = False
    wait_until_stored(journal, "a", 3)
    assert journal.commits[-1] == ["a3"] and writer.lag() == (0, 0.0)


def test_what_nobody_waits_for_and_is_refused_is_told_to_the_one_who_looks_after_it(
    writer: Writer, refused: list[str]
) -> None:
    writer.submit([step("a", 5)])
    submitted(writer, opening("b")).decision()
    assert refused == ["a"]


def test_a_removal_is_not_forgotten_while_the_journal_is_down(writer: Writer, journal: SlowJournal) -> None:
    submitted(writer, opening("a")).decision()
    remove, down = journal.remove, True

    def failing(session_ids: AbstractSet[str]) -> None:
        if down:
            raise JournalUnavailable("out of order", retry_after_s=0.05)
        remove(session_ids)

    journal.remove = failing  # type: ignore[method-assign, assignment]
    writer.remove(["a"])
    submitted(writer, opening("b")).decision()
    assert journal.load("a") is not None
    down = False
    wait_until_gone(journal, "a")


def test_so_much_is_kept_and_no_more(writer: Writer, journal: SlowJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.journal.writer.MAX_KEPT", 3)
    journal.failing = True
    for name in "abc":
        writer.submit([opening(name)])
    with pytest.raises(JournalUnavailable, match="3 sessions wait to be stored, and no more may"):
        writer.submit([opening("d")])
    assert isinstance(submitted(writer, opening("e")).decision(), JournalUnavailable)
    journal.failing = False
    wait_until_stored(journal, "c", 0)


def test_whoever_takes_the_news_badly_holds_up_nobody(writer: Writer, caplog: pytest.LogCaptureFixture) -> None:
    def fails(_: Decision) -> None:
        raise RuntimeError("no time for this")

    writer.submit([opening("a")], fails)
    assert submitted(writer, opening("b")).decision() == set()
    assert "failed to take the news" in caplog.text


def test_closing_stores_what_waits(journal: SlowJournal) -> None:
    writer = Writer(journal, lambda _: None)
    with journal.gate:
        for number in range(20):
            writer.submit([opening(f"s{number}")])
    assert writer.close(PATIENCE_S)
    assert len(journal.page("", 100)[0]) == 20
    with pytest.raises(JournalUnavailable, match="being closed"):
        writer.submit([opening("late")])


def test_closing_says_when_something_could_not_be_stored(journal: SlowJournal) -> None:
    writer = Writer(journal, lambda _: None)
    journal.failing = True
    writer.submit([opening("a")])
    assert not writer.close(PATIENCE_S)


def test_many_engines_share_one_commit_to_the_disk(tmp_path: Path) -> None:
    journal = open_journal(f"sqlite://{tmp_path}/sessions.db", RECORDS)
    writer = Writer(journal, lambda _: None)
    told = [submitted(writer, opening(f"s{number}")) for number in range(200)]
    assert all(one.decision() == set() for one in told)
    assert writer.close(PATIENCE_S)
    journal.close()


def wait_until_taken(writer: Writer) -> None:
    """The first submission is in the commit that is held up."""
    _wait(lambda: not writer._queue, "the submission is taken")


def wait_until_stored(journal: Journal, session_id: str, position: int) -> None:
    _wait(lambda: (found := journal.load(session_id)) is not None and found.position == position, "it is stored")


def wait_until_gone(journal: Journal, session_id: str) -> None:
    _wait(lambda: journal.load(session_id) is None, "it is gone")


def _wait(holds: object, what: str) -> None:
    assert callable(holds)
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.005)


class QuickJournal(SlowJournal):
    """Commits on the spot, unless it is held up; untidy after each."""

    is_untidy = True
    tended = 0

    def commit_now(self, entries: Sequence[Entry]) -> AbstractSet[str] | None:
        if not self.gate.acquire(blocking=False):
            return None
        self.gate.release()
        return self.commit(entries)

    def tend(self) -> None:
        self.tended += 1


def test_a_commit_on_the_spot_is_counted_and_tidied_up_after() -> None:
    journal, watch = QuickJournal(), Counting()
    writer = Writer(journal, lambda ids: None, watch=watch)
    assert writer.commit_here([opening("a"), opening("b")]) == set()
    assert writer.commit_here([step("a", 1), step("b", 2)]) == {"b"}
    assert watch.seen == [(2, 0), (2, 1)]
    until = time.monotonic() + PATIENCE_S
    while not journal.tended and time.monotonic() < until:
        time.sleep(0.001)
    assert journal.tended
    with journal.gate:
        assert writer.commit_here([step("a", 2)]) is None
    journal.failing = True
    assert isinstance(writer.commit_here([step("a", 2)]), JournalUnavailable) and watch.failed == [1]
    assert writer.close(PATIENCE_S)
    assert writer.commit_here([step("a", 2)]) is None


class Counting:
    """What the writer told whoever counts."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []
        self.failed: list[int] = []

    def on_commit(self, entries: int, refused: int, seconds: float) -> None:
        self.seen.append((entries, refused))

    def on_commit_failed(self, entries: int) -> None:
        self.failed.append(entries)


def test_trouble_is_logged_when_it_begins_and_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    journal = QuickJournal()
    writer = Writer(journal, lambda ids: None)
    for trouble in ("the disk is full", "the disk is still full", None):
        journal.trouble = trouble  # type: ignore[assignment]
        submitted(writer, opening(str(trouble))).decision()
        time.sleep(0.02)
    assert writer.close(PATIENCE_S)
    assert [record.message for record in caplog.records] == ["the disk is full", "the journal can be used again"]
