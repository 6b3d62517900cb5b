"""Learns a long-memory task with the training path's own unrolling, full or truncated, until solved or out of updates.

Full back-propagation takes a sequence as one window. Truncated, it is cut into windows of a few steps: the state goes
on from one to the next, the gradient does not, and so what must be remembered for longer than a window is never
taught to be.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from training.bptt import Window, cut, detached, start_anew, unroll
from training.networks.recurrence import Cell, Recurrence, State
from training.tasks.long_memory import SOLVED, LongMemoryTask

RECENT = 20  # batches whose mean error decides whether to look closer
PROOF = 512  # new sequences on which a task has to be solved
Start = Literal["orthogonal", "uniform", "chrono"]
"""How weights begin: as `Recurrence` draws them; uniform within ±1/√H, biases too; or, for an LSTM, with forget gates
that remember for 1 to `lag` steps (Tallec and Ollivier, 2018)."""


class SequenceLearner(nn.Module):
    """One recurrent layer and a linear head: outputs (B, T, O) for inputs (B, T, I)."""

    def __init__(self, cell: Cell, inputs: int, hidden_size: int, outputs: int) -> None:
        super().__init__()
        self.recurrence = Recurrence(cell, inputs, hidden_size)
        self.head = nn.Linear(hidden_size, outputs)

    def forward(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Outputs (B, T, O), and the state after the last step."""
        outputs, after = self.recurrence(inputs, state)
        return self.head(outputs), after

    @torch.no_grad()
    def begin(self, start: Start, lag: int) -> None:
        """Draw the recurrence's weights in another way than its own."""
        if start == "uniform":
            self.recurrence.rnn.reset_parameters()
        elif start == "chrono":
            size = self.recurrence.hidden_size
            remembered = torch.log(torch.empty(size).uniform_(1, lag - 1))
            # Of torch's gates input, forget, cell, output.
            bias = cast(Tensor, self.recurrence.rnn.bias_ih_l0)
            bias[:size], bias[size : 2 * size] = -remembered, remembered


@dataclass(frozen=True)
class Lesson:
    """What is tried: a cell, a lag, a window, and how long."""

    cell: Cell
    lag: int
    window: int = 0
    """Steps that gradient reaches back at most; 0 for all."""
    updates: int = 2000
    learning_rate: float = 3e-3
    start: Start = "orthogonal"
    hidden_size: int = 64
    batch_size: int = 32
    clip_norm: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Attempt:
    """How it went. `error` is on new sequences, as a share of chance."""

    solved: bool
    updates: int
    error: float


def attempt(task: LongMemoryTask, lesson: Lesson, advanced: Callable[[float], None] = lambda share: None) -> Attempt:
    """Train a new network on a task, and say whether and how soon it solved it.

    Args:
        advanced: told the share of the updates that are done.
    """
    torch.manual_seed(lesson.seed)
    random = np.random.default_rng(lesson.seed)
    network = SequenceLearner(lesson.cell, task.inputs, lesson.hidden_size, task.outputs)
    network.begin(lesson.start, lesson.lag)
    optimizer = torch.optim.Adam(network.parameters(), lesson.learning_rate)
    recent: deque[float] = deque(maxlen=RECENT)
    for update in range(lesson.updates):
        window = task.draw(lesson.lag, lesson.batch_size, random)
        recent.append(_update(network, task, window, lesson, optimizer))
        advanced((update + 1) / lesson.updates)
        if not math.isfinite(recent[-1]):
            return Attempt(False, update + 1, math.inf)
        if len(recent) == RECENT and sum(recent) / RECENT < SOLVED * task.chance:
            error = _error(network, task, lesson.lag, random)
            if error < SOLVED:
                return Attempt(True, update + 1, error)
    return Attempt(False, lesson.updates, _error(network, task, lesson.lag, random))


def _update(
    network: SequenceLearner, task: LongMemoryTask, window: Window, lesson: Lesson, optimizer: torch.optim.Optimizer
) -> float:
    """One batch forward and back, one step; the error before it."""
    optimizer.zero_grad(set_to_none=True)
    state = network.recurrence.initial_state(lesson.batch_size)
    said: list[Tensor] = []

    def listening(inputs: Tensor, state: State) -> tuple[Tensor, State]:
        outputs, after = network(inputs, state)
        said.append(outputs.detach())
        return outputs, after

    for part in cut(window, lesson.window):
        if torch.isnan(part.targets).all():  # nothing asked, nothing learned: only the state goes on
            with torch.no_grad():
                outputs, state = network(part.inputs, start_anew(state, part.resets))
            said.append(outputs)
            state = detached(state)
            continue
        loss, state = unroll(listening, task.loss, part, state)
        loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), lesson.clip_norm)
    optimizer.step()
    return task.error(torch.cat(said, dim=1), window.targets)


@torch.no_grad()
def _error(network: SequenceLearner, task: LongMemoryTask, lag: int, random: np.random.Generator) -> float:
    window = task.draw(lag, PROOF, random)
    outputs, _ = network(window.inputs, network.recurrence.initial_state(PROOF))
    return task.error(outputs, window.targets) / task.chance
