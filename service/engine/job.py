"""A job: some rows, the steps they are to take through one graph, and where the result goes.

Jobs are made by tasks and sessions on the event loop, run by the engine on its own thread, and answered on the
event loop again. A job commits as a whole or not at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from service.contract.manifest import GraphName
from service.engine.state_table import Rows
from service.errors import UnrollError
from service.journal import Entry

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Result:
    """What a job gave: each output joined over its `steps` (R, T, …), and the rows (R, S) after them."""

    outputs: dict[str, NDArray[Any]]
    rows: Rows
    steps: int


class Commit(Protocol):
    """How a finished job becomes part of its session. Only jobs of one row commit."""

    @property
    def slot(self) -> int:
        """The session's slot in the state table."""

    def entry(self, result: Result) -> Entry:
        """What the journal stores; called on the engine's thread before anything is answered."""

    def apply(self, entry: Entry, result: Result) -> None:
        """Move the session; called on the event loop after the journal holds the entry and before the answer."""


@dataclass(eq=False, slots=True)
class Job:
    """R rows that take `steps` steps through the graph named `graph`.

    Args:
        graph: "observe" or "generate".
        steps: T, how many steps to take.
        inputs: the graph's inputs with a time axis, (R, T, …) each.
        constants: its inputs without one, (R, …) each.
        rows: (R, S) to start from; None starts from the row in `commit.slot`.
        commit: how to commit the final row; None leaves every session as it is.
        accept: looks at one run's outputs; None lets the job go on, and a number ends it after so many of the run's
            steps, at least one. Called on the engine's thread.
    """

    graph: GraphName
    steps: int
    inputs: Arrays
    constants: Arrays = field(default_factory=dict)
    rows: Rows | None = None
    commit: Commit | None = None
    accept: Callable[[dict[str, NDArray[Any]]], int | None] | None = None
    answer: asyncio.Future[Result] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    dropped: bool = False
    done: int = 0
    pieces: list[dict[str, NDArray[Any]]] = field(default_factory=list)

    @property
    def width(self) -> int:
        """R, how many rows the job has."""
        return 1 if self.rows is None else len(self.rows)

    @property
    def finished(self) -> bool:
        return self.done == self.steps

    @property
    def cancelled(self) -> bool:
        """Whether nobody wants the job any more; it may have been committed already, which `answer` tells."""
        return self.dropped or self.answer.cancelled()

    def cancel(self) -> None:
        """Ask the engine to drop the job."""
        self.dropped = True

    def advance(self, outputs: dict[str, NDArray[Any]], rows: Rows) -> None:
        """Take in one run's outputs (R, t, …) and rows (R, S), or end earlier where `accept` says so.

        A run that went too far is not cut short afterwards: its steps are taken again up to the end, since a row
        cannot go back. The draws belong to positions, so that the same tokens come again.
        """
        taken = next(iter(outputs.values())).shape[1]
        kept = None if self.accept is None else self.accept(outputs)
        if kept is not None:
            self.steps, self.accept = self.done + kept, None
            if kept < taken:
                return
        self.pieces.append(outputs)
        self.rows = rows
        self.done += taken

    def result(self) -> Result:
        assert self.finished and self.rows is not None
        names = self.pieces[0].keys()
        joined = {name: np.concatenate([piece[name] for piece in self.pieces], axis=1) for name in names}
        return Result(joined, self.rows, self.steps)

    def settle(self, outcome: Result | UnrollError) -> None:
        """Answer whoever waits; called on the event loop."""
        if self.answer.done():
            return
        if isinstance(outcome, Result):
            self.answer.set_result(outcome)
        else:
            self.answer.set_exception(outcome)
            self.answer.exception()  # whoever waited may be gone; that is no news for the log
