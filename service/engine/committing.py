"""Between a run and its answers: what the run commits goes to the journal, and whoever waits for that is held back.

The rows are in the state table by then, and the engine goes on with the next run, unless the commit is so brief that it
is made on the spot. An answer is told when the journal has its entry. Where the journal refuses it, or cannot say, the
session's row is not believed any more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from service.engine.job import Result, Settled
from service.errors import JournalDamaged, JournalUnavailable, SessionMoved
from service.journal import Entry
from service.journal.writer import Decision, Writer

log = logging.getLogger(__name__)


class Committing:
    """Hands the entries of finished jobs to the journal's writer.

    Args:
        tell: takes outcomes that are decided, from any thread.
    """

    def __init__(self, writer: Writer, tell: Callable[[list[Settled]], None]) -> None:
        self._writer = writer
        self._tell = tell

    def hold_back(self, settled: list[Settled], *, on_loop: bool) -> list[Settled]:
        """Have stored what has to be; returns the outcomes that wait for nothing.

        Args:
            on_loop: whether this is the event loop, where a commit that is brief is made at once: there, nothing is
                gained by going on meanwhile.
        """
        told: list[Settled] = []
        awaited: list[Settled] = []
        entries: list[Entry] = []
        later: list[Settled] = []
        later_entries: list[Entry] = []
        for one in settled:
            job, outcome = one
            commit = job.commit
            if commit is None or not isinstance(outcome, Result) or commit.durability == "none":
                told.append(one)
                continue
            try:
                entry = commit.entry(outcome)
            except Exception:
                log.exception("what a step commits could not be written down")
                told.append((job, JournalDamaged("what was to be stored could not be written down; nothing was")))
                continue
            if commit.durability == "async":
                later.append(one)
                later_entries.append(entry)
            else:
                awaited.append(one)
                entries.append(entry)
        if later:
            if self._submit_unawaited(later_entries):
                told += later
            else:
                awaited += later
                entries += later_entries
        if awaited:
            decision = self._writer.commit_here(entries) if on_loop and not later else None
            if decision is None:
                self._submit(awaited, entries)
            else:
                told += _decided(awaited, entries, decision)
        return told

    def _submit_unawaited(self, entries: list[Entry]) -> bool:
        """Whether the entries were taken; where too many wait already, their answers have to wait as well."""
        try:
            self._writer.submit(entries)
        except JournalUnavailable:
            return False
        return True

    def _submit(self, awaited: list[Settled], entries: list[Entry]) -> None:
        def done(decision: Decision) -> None:
            self._tell(_decided(awaited, entries, decision))

        try:
            self._writer.submit(entries, done)
        except JournalUnavailable as error:
            done(error)


def _decided(awaited: list[Settled], entries: list[Entry], decision: Decision) -> list[Settled]:
    """What became of those who waited for a commit."""
    if isinstance(decision, Exception):
        return [(job, decision) for job, _ in awaited]
    if not decision:
        return awaited
    return [
        (one[0], _moved(entry)) if entry.session_id in decision else one
        for one, entry in zip(awaited, entries, strict=True)
    ]


def _moved(entry: Entry) -> SessionMoved:
    name = entry.session_id.rpartition("/")[2]  # without whose it is
    return SessionMoved(f"session {name} was moved by another replica during this step, which was not applied")
