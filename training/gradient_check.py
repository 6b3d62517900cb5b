"""The gradients of `training.equations`, found in three other ways: finite differences, autograd, the training path.

Everything is in float64. Finite differences know nothing of derivatives; autograd steps PyTorch's own cells, the
graph cut by hand where a window begins; the training path is `training.bptt` over a `Recurrence`, with PyTorch's
clipping and descent between the windows, as `training.fit` runs it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from training import equations, equations_in_torch
from training.bptt import Window, unroll
from training.equations import Batch, Network, Weights
from training.networks.recurrence import Cell, Recurrence, State

Task = Literal["regression", "classification"]
Scored = Literal["every step", "last step"]

TORCH_CELLS: dict[Cell, type[nn.RNNCell | nn.LSTMCell | nn.GRUCell]] = {
    "RNN": nn.RNNCell,
    "LSTM": nn.LSTMCell,
    "GRU": nn.GRUCell,
}
SEQUENCES, STEPS, INPUTS, HIDDEN, OUTPUTS = 2, 6, 2, 3, 3


class Problem(NamedTuple):
    """A network, its weights, and sequences to learn from in windows."""

    cell: Cell
    network: Network
    weights: Weights
    batch: Batch
    window: int
    stride: int

    @property
    def start(self) -> equations.State:
        """The state before the first step."""
        return equations.initial_state(self.network.cell, self.weights, SEQUENCES)

    @property
    def windows(self) -> Iterator[tuple[int, Batch]]:
        """Each window, and the step it begins with; scored are its newest `stride` steps."""
        for done in range(0, STEPS, self.stride):
            stop = min(done + self.stride, STEPS)
            start = max(0, stop - self.window)
            piece = self.batch.steps(start, stop)
            yield start, piece._replace(scored=piece.scored & (np.arange(start, stop) >= done))


class Update(NamedTuple):
    """One step of clipped descent."""

    loss: float
    norm: float  # before clipping
    gradients: Weights  # after it
    weights: Weights  # after the step


def draw_problem(cell: Cell, task: Task, scored: Scored, window: int, stride: int, seed: int = 0) -> Problem:
    """A small random problem, with biases that are not zero."""
    random = np.random.default_rng(seed)
    classes = task == "classification"
    network = Network(equations.CELLS[cell], equations.cross_entropy if classes else equations.squared_error)
    weights = equations.draw_weights(network.cell, INPUTS, HIDDEN, OUTPUTS, random)
    weights = {name: weight + 0.3 * random.standard_normal(weight.shape) for name, weight in weights.items()}
    inputs = random.standard_normal((SEQUENCES, STEPS, INPUTS))
    numbers, labels = (
        random.standard_normal((SEQUENCES, STEPS, OUTPUTS)),
        random.integers(OUTPUTS, size=(SEQUENCES, STEPS)),
    )
    every = np.broadcast_to((np.arange(STEPS) == STEPS - 1) | (scored == "every step"), (SEQUENCES, STEPS))
    return Problem(cell, network, weights, Batch(inputs, labels if classes else numbers, every), window, stride)


def by_equations(problem: Problem) -> list[Weights]:
    """Gradients of each window, all at the same weights."""
    _, network, w, batch, window, stride = problem
    return [run.gradients for run in equations.truncated_bptt(network, w, batch, problem.start, window, stride)]


def by_finite_differences(problem: Problem, step: float = 1e-5) -> list[Weights]:
    """(L(w + ε) − L(w − ε)) / 2ε for every single weight, of each window, the state that it begins with held fixed."""
    states = equations.bptt(problem.network, problem.weights, problem.batch, problem.start).states

    def slope(window: Batch, start: int, name: str, index: tuple[int, ...]) -> float:
        moved = problem.weights | {name: problem.weights[name].copy()}
        moved[name][index] += step
        above = equations.bptt(problem.network, moved, window, states[start]).loss
        moved[name][index] -= 2 * step
        return (above - equations.bptt(problem.network, moved, window, states[start]).loss) / (2 * step)

    return [
        {
            name: np.array([slope(window, start, name, i) for i in np.ndindex(w.shape)]).reshape(w.shape)
            for name, w in problem.weights.items()
        }
        for start, window in problem.windows
    ]


def by_autograd(problem: Problem) -> list[Weights]:
    """The same from PyTorch's cells, one step after another, the graph cut where a window begins."""
    module = nn.ModuleList([TORCH_CELLS[problem.cell](INPUTS, HIDDEN), nn.Linear(HIDDEN, OUTPUTS)]).double()
    cell, readout = module
    equations_in_torch.load(problem.cell, problem.weights, module)
    found = []
    for start, window in problem.windows:
        state: State = tuple(torch.from_numpy(part) for part in problem.start)
        outputs = []
        stop = start + window.inputs.shape[1]
        for t, x in enumerate(torch.from_numpy(problem.batch.inputs[:, :stop]).unbind(dim=1)):
            if t == start:
                state = tuple(part.detach() for part in state)
            after = cell(x, state if problem.cell == "LSTM" else state[0])
            state = cast(State, after) if problem.cell == "LSTM" else (cast(Tensor, after),)
            outputs.append(readout(state[0]))
        module.zero_grad()
        loss = equations_in_torch.loss(torch.stack(outputs[start:], dim=1), equations_in_torch.targets(window))
        loss.backward()  # type: ignore[no-untyped-call]
        found.append(equations_in_torch.gradients(problem.cell, module))
    return found


def updates_by_equations(problem: Problem, rate: float, limit: float) -> list[Update]:
    """Clipped descent by the equations, window after window."""
    w = {name: weight.copy() for name, weight in problem.weights.items()}
    batches = [problem.batch]
    return [
        Update(run.loss, norm, run.gradients, {name: weight.copy() for name, weight in w.items()})
        for run, norm in equations.learn(problem.network, w, batches, problem.window, problem.stride, rate, limit)
    ]


class TrainedNetwork(nn.Module):
    """A recurrence and a readout in float64, as the networks of `training.networks` are made."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.recurrence = Recurrence(problem.cell, INPUTS, HIDDEN)
        self.readout = nn.Linear(HIDDEN, OUTPUTS)
        self.double()
        equations_in_torch.load(problem.cell, problem.weights, self)
        equations_in_torch.hold_second_bias(problem.cell, self.recurrence.rnn)

    def forward(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        hidden, after = self.recurrence(inputs, state)
        return self.readout(hidden), after


def updates_by_training_path(problem: Problem, rate: float, limit: float) -> list[Update]:
    """Clipped descent by `training.bptt`, whose windows go on by the stride: `window` must be a multiple of it.

    Windows that still begin with the first step start anew, so that early steps are scored as well.
    """
    network = TrainedNetwork(problem)
    optimizer = torch.optim.SGD(network.parameters(), lr=rate)
    state = network.recurrence.initial_state(SEQUENCES)
    updates = []
    for start, piece in problem.windows:
        resets = torch.full((SEQUENCES,), start == 0)
        window = Window(torch.from_numpy(piece.inputs), equations_in_torch.targets(piece), resets)
        optimizer.zero_grad()
        loss, state = unroll(network, equations_in_torch.loss, window, state, problem.stride)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(network.parameters(), limit)
        optimizer.step()
        clipped = equations_in_torch.gradients(problem.cell, network)
        weights = equations_in_torch.unpack(problem.cell, network.parameters())
        updates.append(Update(loss.item(), norm.item(), clipped, weights))
    return updates


class Differences(NamedTuple):
    """The largest difference of any number, in any window and update, from what the equations give."""

    finite_differences: float
    autograd: float
    training_path: float


def compare(problem: Problem, rate: float = 0.5, limit: float = 0.3) -> Differences:
    """Check one problem in all three ways; gradients against the training path's are clipped, and weights moved."""
    ours, theirs = updates_by_equations(problem, rate, limit), updates_by_training_path(problem, rate, limit)
    return Differences(
        largest_difference(by_finite_differences(problem), by_equations(problem)),
        largest_difference(by_autograd(problem), by_equations(problem)),
        max(
            *(abs(one.loss - other.loss) for one, other in zip(ours, theirs, strict=True)),
            *(abs(one.norm - other.norm) for one, other in zip(ours, theirs, strict=True)),
            largest_difference([update.gradients for update in ours], [update.gradients for update in theirs]),
            largest_difference([update.weights for update in ours], [update.weights for update in theirs]),
        ),
    )


def largest_difference(found: Sequence[Weights], expected: Sequence[Weights]) -> float:
    """The largest difference of any number in any window."""
    return max(
        float(np.abs(ours[name] - theirs[name]).max())
        for ours, theirs in zip(found, expected, strict=True)
        for name in ours.keys() | theirs.keys()
    )
