"""One thread that commits for the whole process: whatever arrives during a commit goes into the next one, together.

An answer that waits for its commit (durability `sync`) is told what became of it. What nobody waits for (`async`) is
kept until it is stored, a session's later entry taking the place of its earlier one.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from threading import Condition, Thread
from typing import Any, NamedTuple, Protocol

from msgspec.structs import replace

from service.errors import JournalDamaged, JournalUnavailable
from service.journal import NONE_REFUSED, Entry, Journal

log = logging.getLogger(__name__)

Decision = AbstractSet[str] | JournalUnavailable | JournalDamaged
"""The ids of the sessions that were refused, or why it is not known what became of any."""
Done = Callable[[Decision], None]

IDLE_SECONDS = 1.0
MAX_KEPT = 50_000
"""Entries that may wait when one comes that nobody waits for; past them it is refused."""


class CommitWatch(Protocol):
    """What the writer tells whoever counts, on its own thread."""

    def on_commit(self, entries: int, refused: int, seconds: float) -> None:
        """So many entries were committed together, and so many of them refused."""

    def on_commit_failed(self, entries: int) -> None:
        """It is not known what became of so many entries."""


class Lag(NamedTuple):
    """What is not stored yet: how many entries, and for how many seconds the oldest waits."""

    waiting: int
    seconds: float


class _Submission(NamedTuple):
    entries: Sequence[Entry]
    removed: Sequence[str]
    done: Done | None
    at: float


class Writer:
    """Commits what is submitted, in the order of submission. Methods may be called from any thread and never wait.

    Args:
        on_refused: told on the writer's thread of sessions whose entries nobody waited for and that were refused.
        on_stored: told there of the positions of such entries that were stored, by session.
    """

    def __init__(
        self,
        journal: Journal,
        on_refused: Callable[[AbstractSet[str]], None],
        on_stored: Callable[[Mapping[str, int]], None] | None = None,
        watch: CommitWatch | None = None,
    ) -> None:
        self._journal = journal
        self._on_refused = on_refused
        self._on_stored = on_stored
        self._watch = watch
        self._queue: deque[_Submission] = deque()
        self._kept: dict[str, Entry] = {}
        self._to_remove: set[str] = set()
        self._kept_since: float | None = None
        self._retry_at = 0.0
        self._queued = 0
        self._wake = Condition()
        self._oldest: float | None = None
        self._stopping = self._to_tend = self._in_trouble = False
        self._thread = Thread(target=self._work, name="journal", daemon=True)
        self._thread.start()

    def submit(self, entries: Sequence[Entry], done: Done | None = None) -> None:
        """Have entries of distinct sessions committed. `done` is told on the writer's thread; None waits for nothing.

        Raises:
            JournalUnavailable: nobody would wait, and the journal has been down for so long that no more is kept.
        """
        waiting = self._queued + len(self._kept)
        if done is None and waiting >= MAX_KEPT:
            raise JournalUnavailable(f"{waiting} sessions wait to be stored, and no more may", retry_after_s=5)
        self._put(_Submission(entries, (), done, time.monotonic()))

    def commit_here(self, entries: Sequence[Entry]) -> Decision | None:
        """What became of entries of distinct sessions, committed on the caller's own thread.

        None where that may take a while, and nothing was begun. Other entries of these sessions are none on their way:
        somebody waited for all of them, and has been answered.
        """
        started = time.perf_counter()
        decision = None if self._stopping else self._tried(lambda: self._journal.commit_now(entries))
        if decision is not None:
            self._count(len(entries), decision, time.perf_counter() - started)
            if self._journal.is_untidy:
                with self._wake:
                    self._to_tend = True
                    self._wake.notify()
        return decision

    def remove(self, session_ids: Iterable[str], done: Done | None = None) -> None:
        """Have sessions forgotten, after what was submitted of them before."""
        self._put(_Submission((), list(session_ids), done, time.monotonic()))

    def lag(self) -> Lag:
        """How far the journal is behind."""
        oldest = min((at for at in (self._oldest, self._kept_since) if at is not None), default=None)
        return Lag(self._queued + len(self._kept), 0.0 if oldest is None else time.monotonic() - oldest)

    def close(self, grace_s: float) -> bool:
        """Commit what waits, and say whether everything could be stored within `grace_s` seconds."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join(grace_s)
        return not self._thread.is_alive() and not self._kept

    def _put(self, submission: _Submission) -> None:
        with self._wake:
            if self._stopping:
                raise JournalUnavailable("the journal is being closed", retry_after_s=1)
            self._queue.append(submission)
            self._queued += len(submission.entries)
            self._wake.notify()

    # On the writer's own thread.

    def _work(self) -> None:
        while True:
            with self._wake:
                if not self._queue and not self._stopping and not self._to_tend:
                    self._wake.wait(IDLE_SECONDS)
                self._to_tend = False
                if self._stopping and not self._queue:
                    break
                taken = list(self._queue)
                self._queue.clear()
                self._queued = 0
                self._oldest = taken[0].at if taken else None
            for batch in _batches(taken):
                self._commit(batch)
            if not taken and (self._kept or self._to_remove) and time.monotonic() >= self._retry_at:
                self._commit([])
            self._oldest = None
            self._tend()
            self._tell_of_trouble()
        if self._kept or self._to_remove:
            self._commit([])

    def _commit(self, submissions: Sequence[_Submission]) -> None:
        """Commit submissions in one go, and decide about each."""
        removed = self._to_remove.union(*(submission.removed for submission in submissions))
        entries = self._entries_of(submissions, removed)
        started = time.perf_counter()
        decision = self._tried(lambda: self._stored(entries, removed)) or NONE_REFUSED
        if isinstance(decision, JournalUnavailable):
            self._to_remove |= removed
        self._count(len(entries), decision, time.perf_counter() - started)
        if self._kept_since is not None or any(submission.done is None for submission in submissions):
            self._keep_what_nobody_waits_for(submissions, entries, decision)
        for submission in submissions:
            self._tell(submission, decision)

    def _stored(self, entries: Sequence[Entry], removed: AbstractSet[str]) -> AbstractSet[str]:
        if removed:
            self._journal.remove(removed)
            self._to_remove.clear()
        return self._journal.commit(entries) if entries else NONE_REFUSED

    def _tried(self, commit: Callable[[], AbstractSet[str] | None]) -> Decision | None:
        """What a commit answers, or why it does not."""
        try:
            return commit()
        except (JournalUnavailable, JournalDamaged) as error:
            return error
        except Exception as error:
            log.exception("a commit failed")
            return JournalUnavailable(f"the journal failed: {type(error).__name__}")

    def _entries_of(self, submissions: Sequence[_Submission], removed: AbstractSet[str]) -> Sequence[Entry]:
        """The last entry of each session, to follow where the first one took it up; those kept so far included."""
        if len(submissions) == 1 and not self._kept and not removed:
            return submissions[0].entries
        entries, self._kept = self._kept, {}
        for session_id in removed:
            entries.pop(session_id, None)
        for submission in submissions:
            for entry in submission.entries:
                earlier = entries.get(entry.session_id)
                joined = earlier is not None and _continues(entry, earlier)
                entries[entry.session_id] = replace(entry, previous=earlier.previous) if joined and earlier else entry
        return list(entries.values())

    def _keep_what_nobody_waits_for(
        self, submissions: Sequence[_Submission], entries: Sequence[Entry], decision: Decision
    ) -> None:
        awaited = {entry.session_id for one in submissions if one.done is not None for entry in one.entries}
        others = {entry.session_id: entry for entry in entries if entry.session_id not in awaited}
        if isinstance(decision, JournalUnavailable):
            self._kept = others
            self._retry_at = time.monotonic() + decision.retry_after_s
            if self._kept_since is None and others:
                self._kept_since = time.monotonic()
            return
        self._kept_since = None
        refused = others.keys() if isinstance(decision, JournalDamaged) else decision & others.keys()
        if refused:
            self._call(self._on_refused, refused)
        if self._on_stored is not None and not isinstance(decision, Exception):
            positions = {name: entry.position for name, entry in others.items() if name not in decision}
            if positions:
                self._call(self._on_stored, positions)

    def _count(self, entries: int, decision: Decision, seconds: float) -> None:
        if self._watch is None or not entries:
            return
        if isinstance(decision, Exception):
            self._watch.on_commit_failed(entries)
        else:
            self._watch.on_commit(entries, len(decision), seconds)

    def _tell(self, submission: _Submission, decision: Decision) -> None:
        if submission.done is None:
            return
        if decision and not isinstance(decision, Exception):
            decision = {entry.session_id for entry in submission.entries} & decision
        self._call(submission.done, decision)

    def _call(self, told: Callable[[Any], None], news: Any) -> None:
        """Tell someone; what goes wrong there is logged and holds up nobody."""
        try:
            told(news)
        except Exception:
            log.exception("whoever is told of a commit failed to take the news")

    def _tend(self) -> None:
        try:
            self._journal.tend()
        except (JournalUnavailable, JournalDamaged):
            # The journal says so itself, in `trouble`.
            return
        except Exception:
            log.exception("the journal's housekeeping failed")

    def _tell_of_trouble(self) -> None:
        """Let the log say when trouble with the journal begins, and when it is over."""
        trouble = self._journal.trouble
        if trouble is not None and not self._in_trouble:
            log.warning("%s", trouble)
        elif trouble is None and self._in_trouble:
            log.info("the journal can be used again")
        self._in_trouble = trouble is not None


def _continues(entry: Entry, earlier: Entry) -> bool:
    return entry.epoch == earlier.epoch and entry.previous == earlier.position


def _batches(submissions: Sequence[_Submission]) -> list[list[_Submission]]:
    """The submissions in order, in as few commits as can be: a removal, or an id used again, begins another."""
    if len(submissions) == 1:
        return [list(submissions)]
    batches: list[list[_Submission]] = []
    last: dict[str, Entry] = {}
    gone: set[str] = set()
    for submission in submissions:
        starts_anew = bool(submission.removed) != bool(gone) or any(
            entry.session_id in last and not _continues(entry, last[entry.session_id]) for entry in submission.entries
        )
        if not batches or starts_anew:
            batches.append([])
            last, gone = {}, set()
        batches[-1].append(submission)
        gone.update(submission.removed)
        last |= {entry.session_id: entry for entry in submission.entries}
    return batches
