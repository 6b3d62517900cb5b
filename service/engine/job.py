"""A job: some rows, the steps they are to take through one graph, and where the result goes.

Jobs are made by tasks and sessions on the event loop, run by the engine on its own thread, and answered on the
event loop again. A job commits as a whole or not at all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from service.contract.manifest import GraphName
from service.engine.owner import working_for
from service.engine.run import Run
from service.engine.state_table import Rows
from service.errors import UnrollError
from service.journal import Entry

Arrays = Mapping[str, NDArray[Any]]
Inputs = Mapping[str, NDArray[Any] | list[Any]]
Durability = Literal["sync", "async", "none"]
"""What an answer waits for: its commit; nothing, and the commit follows; nothing, and there is none."""


class Result:
    """What a job gave: its part of a run, R rows from `first` on, and how many steps that were.

    A job that took several runs has them joined into one of its own. Arrays are views into the run, which all its
    jobs share: whoever keeps one for long copies it.
    """

    __slots__ = ("first", "run", "steps", "width")

    def __init__(self, run: Run, steps: int, first: int = 0, width: int = 1) -> None:
        self.run = run
        self.steps = steps
        self.first = first
        self.width = width

    @property
    def outputs(self) -> dict[str, NDArray[Any]]:
        """Each output (R, T, …) over the job's steps."""
        part = slice(self.first, self.first + self.width)
        return {name: values[part] for name, values in self.run.outputs.items()}

    @property
    def rows(self) -> Rows:
        """The rows (R, S) after the steps. There where the journal is durable, or the job had no commit."""
        assert self.run.rows is not None, "these rows never left the state table"
        return self.run.rows[self.first : self.first + self.width]

    @property
    def row_bytes(self) -> bytes:
        """The bytes of the first of these rows."""
        assert self.run.rows is not None, "these rows never left the state table"
        row: bytes = self.run.rows[self.first].tobytes()
        return row


Outcome = Result | UnrollError
Settled = tuple["Job", Outcome]
"""A job that is done with, and what became of it."""


class Commit(Protocol):
    """How a finished job becomes part of its session. Only jobs of one row commit."""

    @property
    def slot(self) -> int:
        """The session's slot in the state table."""

    @property
    def durability(self) -> Durability:
        """What the answer waits for, where the journal outlives the process."""

    def entry(self, result: Result) -> Entry:
        """What such a journal stores; called on the engine's thread before anything is answered."""

    def apply(self, result: Result) -> None:
        """Move the session; called on the event loop before the answer, and after the commit that it waits for."""

    def discard(self) -> None:
        """Believe nothing of the row in the slot any more: the journal does not have it, or may not."""


class Job:
    """R rows that take `steps` steps through the graph named `graph`.

    Args:
        graph: "observe", "prefill", "generate" or "predict"; or "forecast", which takes no step for its steps ahead: T
            is 1.
        steps: T, how many steps to take.
        inputs: the graph's inputs with a time axis, (R, T, …) each; of one step of one row also a plain list of its
            numbers, NaN or None where missing, which is made an array together with everyone else's.
        constants: its inputs without one, (R, …) each.
        rows: (R, S) to start from; None starts from the row in `commit.slot`.
        commit: how to commit the final row; None leaves every session as it is.
        commit_if: looks at all that the job gave; where it says no, the job ends without its commit. Called on the
            engine's thread.
        then: told the outcome on the event loop.

    The job belongs to whoever it is made for (see `owner`), until it is said to be another's.
    """

    __slots__ = (
        "arrived",
        "commit",
        "commit_if",
        "constants",
        "cost",
        "done",
        "dropped",
        "graph",
        "inputs",
        "owner",
        "pieces",
        "rows",
        "settled",
        "steps",
        "then",
        "width",
    )

    def __init__(
        self,
        graph: GraphName,
        steps: int,
        inputs: Inputs,
        constants: Arrays | None = None,
        *,
        rows: Rows | None = None,
        commit: Commit | None = None,
        commit_if: Callable[[dict[str, NDArray[Any]]], bool] | None = None,
        then: Callable[[Outcome], None] | None = None,
    ) -> None:
        self.graph = graph
        self.steps = steps
        self.inputs = inputs
        self.constants = constants
        self.rows = rows
        self.width = 1 if rows is None else len(rows)
        """R, how many rows the job has."""
        self.commit = commit
        self.commit_if = commit_if
        self.then = then
        self.owner = working_for.get()
        """Whose share of the engine it takes; None where nobody is told from another."""
        self.cost = 0.0
        """Seconds that it was thought to take when it began to wait; see `backlog`."""
        self.done = 0
        self.pieces: list[Result] = []
        self.dropped = False
        self.settled = False
        """Whether it has been decided what became of the job."""
        self.arrived = time.perf_counter_ns()

    @property
    def finished(self) -> bool:
        return self.done == self.steps

    def ends_here(self, steps: int) -> bool:
        """Whether so many steps are sure to be the last, and the rows after them go to the session's slot alone."""
        return self.commit is not None and self.commit_if is None and self.done + steps == self.steps

    @property
    def cancelled(self) -> bool:
        """Whether nobody wants the job any more; it may have been committed already, which its outcome tells."""
        return self.dropped

    def cancel(self) -> None:
        """Ask the engine to drop the job."""
        self.dropped = True

    def advance(self, run: Run, first: int) -> Result | None:
        """Take in the job's part of one run, its rows from `first` on; all the job gave, where that was its end."""
        piece = Result(run, run.steps, first, self.width)
        self.done += run.steps
        if self.finished:
            whole = self._whole(piece)
            if self.commit_if is not None and not self.commit_if(whole.outputs):
                self.commit = None
            return whole
        self.pieces.append(piece)
        self.rows = piece.rows
        return None

    def _whole(self, last: Result) -> Result:
        if not self.pieces:
            return last
        parts = [piece.outputs for piece in (*self.pieces, last)]
        joined = {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}
        rows = None if last.run.rows is None else last.rows
        return Result(Run(joined, rows, self.steps), self.steps, 0, self.width)

    def settle(self, outcome: Outcome) -> None:
        """Tell whoever waits, once; called on the event loop."""
        if self.settled:
            return
        self.settled = True
        if self.then is not None:
            self.then(outcome)


def future_of(job: Job) -> asyncio.Future[Result]:
    """A future that answers when the job is settled. Cancelling it asks the engine to drop the job."""
    answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

    def settle(outcome: Outcome) -> None:
        if answer.done():
            return
        if isinstance(outcome, Result):
            answer.set_result(outcome)
        else:
            answer.set_exception(outcome)
            answer.exception()  # whoever waited may be gone; that is no news for the log

    def drop(future: asyncio.Future[Result]) -> None:
        if future.cancelled():
            job.cancel()

    assert job.then is None, "a job has one that is told of its outcome"
    job.then = settle
    answer.add_done_callback(drop)
    return answer
