"""The short way through a session: a whole transition begun at once where nobody else is at it, with no coroutine.

What it leaves out is waiting. Order, repeats, positions and the commit are those of `Session.turn` and `Turn`.
"""

from __future__ import annotations

from collections.abc import Callable

from service.engine.job import Durability, Job, Outcome, Result
from service.errors import UnrollError
from service.journal import Entry
from service.sessions.commit import entry_of, note_commit
from service.sessions.session import Session
from service.sessions.transition import NOTHING_EXPECTED, Expected, Transition
from service.sessions.turn import Turn, remembered


class Step:
    """A session held for one transition: the commit of its job, and who is told when it is decided."""

    __slots__ = ("_digest", "_expected", "_last", "_then", "session", "slot", "start")

    def __init__(self, session: Session, slot: int, expected: Expected, digest: bytes) -> None:
        self.session = session
        self.start = session.position
        """The position before."""
        self.slot = slot
        self._expected, self._digest = expected, digest
        self._last: Transition | None = None
        self._then: Callable[[Step, Outcome], None]

    @classmethod
    def hold(cls, session: Session, expected: Expected, digest: bytes, *, has_turn: bool = False) -> Step | None:
        """Hold the session for a new step.

        None where somebody is at it, it is over, its row is not at hand, or the step is not a new one. Nor where the
        engine is full: whoever asks the long way is refused and counted there.

        Args:
            has_turn: whether the session is held for this step already; it is let go of where there is none.
        """
        if not has_turn and (session.engine.is_full(session.owner) or not session.try_hold()):
            return None
        held = None
        try:
            if has_turn and (session.engine.is_full(session.owner) or not session.is_plain):
                return None
            if expected is NOTHING_EXPECTED or Turn(session).repeated(expected, digest) is None:
                slot = session.home.slot_of(session)
                held = None if slot is None else cls(session, slot, expected, digest)
        except UnrollError:
            pass  # whoever asks the long way is told what is wrong
        finally:
            if held is None:
                session.release()
        return held

    def carry_out(self, job: Job, then: Callable[[Step, Outcome], None]) -> None:
        """Hand the job over; `then` is told the outcome on the event loop, after the session has moved.

        Raises:
            Overloaded, ShuttingDown: nothing was begun; the session is still held.
        """
        job.commit = self
        job.owner = self.session.owner
        job.then = self._settle
        self._then = then
        self.session.engine.post(job)
        self.session.pinned = True

    def give_up(self) -> None:
        """Let go of a session for which nothing was begun."""
        self.session.release()

    @property
    def durability(self) -> Durability:
        return self.session.durability

    def entry(self, result: Result) -> Entry:
        session = self.session
        record = session.record_at(self.start + result.steps, self._remembered(result))
        return entry_of(session, record, result.row_bytes)

    def apply(self, result: Result) -> None:
        session = self.session
        session.position = self.start + result.steps
        session.last = self._remembered(result)
        session.touch()
        note_commit(session)

    def discard(self) -> None:
        self.session.stale = True

    def _remembered(self, result: Result) -> Transition | None:
        if self._last is None and self._expected is not NOTHING_EXPECTED:
            self._last = remembered(self.start, self._expected, self._digest, result)
        return self._last

    def _settle(self, outcome: Outcome) -> None:
        self.session.pinned = False
        self.session.release()
        self._then(self, outcome)
