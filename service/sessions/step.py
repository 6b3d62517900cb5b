"""The short way through a session: a whole transition begun at once where nobody else is at it, with no coroutine.

What it leaves out is waiting. Order, repeats, positions and the commit are those of `Session.turn` and `Turn`.
"""

from __future__ import annotations

from collections.abc import Callable

from service.engine.job import Job, Outcome, Result
from service.errors import UnrollError
from service.journal import Entry
from service.sessions.session import Session
from service.sessions.transition import NOTHING_EXPECTED, Expected, Transition
from service.sessions.turn import Turn, remembered


class Step:
    """A session held for one transition: the commit of its job, and who is told when it is decided."""

    __slots__ = ("_digest", "_expected", "_then", "session", "slot", "start")

    def __init__(self, session: Session, expected: Expected, digest: bytes) -> None:
        self.session = session
        self.start = session.position
        """The position before."""
        self.slot = session.row_of(session)
        self._expected, self._digest = expected, digest
        self._then: Callable[[Step, Outcome], None]

    @classmethod
    def hold(cls, session: Session, expected: Expected, digest: bytes) -> Step | None:
        """Hold the session for a new step; None where somebody is at it, it is over, or the step is not a new one.

        Nor where the engine is full: whoever asks the long way is refused and counted there.
        """
        if session.engine.is_full or not session.try_hold():
            return None
        held = None
        try:
            if expected is NOTHING_EXPECTED or Turn(session).repeated(expected, digest) is None:
                held = cls(session, expected, digest)
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
        job.then = self._settle
        self._then = then
        self.session.engine.post(job)
        self.session.pinned = True

    def give_up(self) -> None:
        """Let go of a session for which nothing was begun."""
        self.session.release()

    def entry(self, result: Result) -> Entry:
        position = self.start + result.steps
        return Entry(
            self.session.id, position, result.rows[0].tobytes(), self.session.record_at(position, self._last(result))
        )

    def apply(self, result: Result) -> None:
        session = self.session
        session.position = self.start + result.steps
        session.last = self._last(result)
        if session.engine.journal.durable:
            session.durable_position = session.position
        session.touch()

    def _last(self, result: Result) -> Transition | None:
        if self._expected is NOTHING_EXPECTED:
            return None
        return remembered(self.start, self._expected, self._digest, result)

    def _settle(self, outcome: Outcome) -> None:
        self.session.pinned = False
        self.session.release()
        self._then(self, outcome)
