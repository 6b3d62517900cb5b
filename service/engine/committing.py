"""Between a run and its answers: what the run commits goes to the journal, and whoever waits for that is held back.

The rows are in the state table by then, and the engine goes on with the next run. An answer is told when the journal
has its entry. Where the journal refuses it, or cannot say, the session's row is not believed any more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from service.engine.job import Job, Outcome, Result, Settled
from service.errors import JournalDamaged, JournalUnavailable, SessionMoved
from service.journal import Entry
from service.journal.writer import Decision, Writer

log = logging.getLogger(__name__)

_Stored = tuple[Job, Result, Entry]


class Committing:
    """Hands the entries of finished jobs to the journal's writer.

    Args:
        tell: takes outcomes that are decided, from any thread.
    """

    def __init__(self, writer: Writer, tell: Callable[[list[Settled]], None]) -> None:
        self._writer = writer
        self._tell = tell

    def hold_back(self, settled: list[Settled]) -> list[Settled]:
        """Submit what has to be stored; returns the outcomes that wait for nothing."""
        told: list[Settled] = []
        awaited: list[_Stored] = []
        later: list[_Stored] = []
        for job, outcome in settled:
            commit = job.commit
            if commit is None or not isinstance(outcome, Result) or commit.durability == "none":
                told.append((job, outcome))
                continue
            try:
                entry = commit.entry(outcome)
            except Exception:
                log.exception("what a step commits could not be written down")
                told.append((job, JournalDamaged("what was to be stored could not be written down; nothing was")))
                continue
            (later if commit.durability == "async" else awaited).append((job, outcome, entry))
        if later:
            if self._submit_unawaited([entry for _, _, entry in later]):
                told += [(job, result) for job, result, _ in later]
            else:
                awaited += later
        if awaited:
            self._submit(awaited)
        return told

    def _submit_unawaited(self, entries: list[Entry]) -> bool:
        """Whether the entries were taken; where too many wait already, their answers have to wait as well."""
        try:
            self._writer.submit(entries)
        except JournalUnavailable:
            return False
        return True

    def _submit(self, awaited: list[_Stored]) -> None:
        def done(decision: Decision) -> None:
            self._tell([(job, _outcome(result, entry, decision)) for job, result, entry in awaited])

        try:
            self._writer.submit([entry for _, _, entry in awaited], done)
        except JournalUnavailable as error:
            done(error)


def _outcome(result: Result, entry: Entry, decision: Decision) -> Outcome:
    if isinstance(decision, Exception):
        return decision
    if entry.session_id in decision:
        return SessionMoved(
            f"session {entry.session_id} was moved by another replica during this step, which was not applied"
        )
    return result
