"""`python -m training equations`: the textbook's gradients checked three ways, and its small loop learning."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Annotated, Literal, NamedTuple, get_args

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from training.equations import CELLS, Batch, Loss, Network, Unrolled, cross_entropy, draw_weights, learn, squared_error
from training.errors import TrainingError
from training.gradient_check import STEPS, Scored, compare, draw_problem
from training.gradient_check import Task as CheckedTask
from training.networks.recurrence import Cell

TaskName = Literal["echo", "recall"]
SYMBOLS = 4
LINES = 10  # printed while learning


class Task(NamedTuple):
    """Sequences drawn without end, and the loss of a network that has learned nothing but averages."""

    draw: Callable[[np.random.Generator, int, int, int], Batch]  # sequences, steps, delay
    loss: Loss
    width: int  # of inputs and of outputs
    baseline: float


def draw_echo(random: np.random.Generator, sequences: int, steps: int, delay: int) -> Batch:
    """Regression at every step: say the number, uniform in (−1, 1), that came `delay` steps ago."""
    numbers = random.uniform(-1, 1, size=(sequences, steps, 1))
    seen = np.broadcast_to(np.arange(steps) >= delay, (sequences, steps))
    return Batch(numbers, np.roll(numbers, delay, axis=1), seen)


def draw_recall(random: np.random.Generator, sequences: int, steps: int, delay: int) -> Batch:
    """Classification at the last step: which of the symbols came `delay` steps ago."""
    symbols = random.integers(SYMBOLS, size=(sequences, steps))
    last = np.broadcast_to(np.arange(steps) == steps - 1, (sequences, steps))
    return Batch(np.eye(SYMBOLS)[symbols], np.roll(symbols, delay, axis=1), last)


TASKS: dict[TaskName, Task] = {
    "echo": Task(draw_echo, squared_error, 1, 0.5 / 3),  # half the variance of what is to be said
    "recall": Task(draw_recall, cross_entropy, SYMBOLS, math.log(SYMBOLS)),
}


def equations(
    cell: Annotated[Cell, typer.Option(help="recurrent cell that learns")] = "RNN",
    task: Annotated[TaskName, typer.Option(help="echo numbers, or recall a symbol at the last step")] = "recall",
    steps: Annotated[int, typer.Option(min=1, help="length of a sequence")] = 12,
    delay: Annotated[int, typer.Option(min=0, help="steps to remember for")] = 8,
    window: Annotated[int, typer.Option(min=0, help="steps that a gradient is sent back over; 0: all")] = 0,
    stride: Annotated[int, typer.Option(min=0, help="steps between updates; 0: the window")] = 0,
    hidden: Annotated[int, typer.Option(min=1, help="units")] = 16,
    sequences: Annotated[int, typer.Option(min=1, help="sequences side by side, drawn anew each time")] = 16,
    batches: Annotated[int, typer.Option(min=0, help="how many are learned from")] = 1500,
    rate: Annotated[float, typer.Option(min=0, help="learning rate")] = 0.5,
    clip_norm: Annotated[float, typer.Option(min=0, help="longest gradient; 0: as it comes")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="of weights and sequences")] = 0,
    check: Annotated[bool, typer.Option(help="check gradients first")] = True,
) -> None:
    """Check the textbook's gradients in three ways, then let a small network learn by them alone."""
    if delay >= steps:
        raise TrainingError(f"delay: expected less than the {steps} steps of a sequence, got {delay}")
    window = window or steps
    stride = stride or window
    if stride > window:
        raise TrainingError(f"stride: expected at most the window of {window} steps, got {stride}")
    console = Console(highlight=False)
    if check:
        console.print(check_table())
    if not batches:
        return
    random = np.random.default_rng(seed)
    draw, loss, width, baseline = TASKS[task]
    network = Network(CELLS[cell], loss)
    weights = draw_weights(network.cell, width, hidden, width, random)
    drawn = (draw(random, sequences, steps, delay) for _ in range(batches))
    limit = clip_norm or math.inf
    updates = learn(network, weights, drawn, window, stride, rate, limit)
    print_learning(console, updates, batches * -(-steps // stride), limit)
    console.print(f"a network that has learned nothing: loss {baseline:.4f}")


def check_table() -> Table:
    """For each cell, full and truncated, the largest difference over both losses, at every step and at the last."""
    table = Table("cell", "back-propagation", "finite differences", "autograd", "training path")
    for cell in get_args(Cell):
        for window, stride in ((STEPS, STEPS), (4, 2)):
            found = [
                compare(draw_problem(cell, task, scored, window, stride))
                for task in get_args(CheckedTask)
                for scored in get_args(Scored)
            ]
            name = "full" if window == STEPS else f"window {window}, stride {stride}"
            table.add_row(cell, name, *(f"{max(numbers):.0e}" for numbers in zip(*found, strict=True)))
    return table


def print_learning(console: Console, updates: Iterator[tuple[Unrolled, float]], count: int, limit: float) -> None:
    """Print the means of ten stretches of the updates; windows without a scored step teach nothing and count not."""
    stretch = -(-count // LINES)
    for end in range(stretch, count + stretch, stretch):
        passes = [(unrolled.loss, norm) for unrolled, norm in islice(updates, stretch) if norm > 0]
        if not passes:
            continue
        loss, norm = np.mean(passes, axis=0)
        clipped = np.mean([norm > limit for _, norm in passes])
        if not math.isfinite(loss):
            raise TrainingError(f"expected a finite loss, got {loss}; lower --rate or --clip-norm")
        console.print(f"update {min(end, count):>6} · loss {loss:.4f} · gradient {norm:.3f} · clipped {clipped:.0%}")
