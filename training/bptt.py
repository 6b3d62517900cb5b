"""Back-propagation through time over one window, full or truncated (Williams and Peng, 1990).

A stream is cut into windows; the state goes on from one to the next, the gradient does not:

    stream    ───────────────┬───────────────┬───────────────▶
    state     0 ──▶ window 0 ─▶ detach ─▶ window 1 ─▶ detach ─▶ window 2 …
    gradient  ◀──────────────┘◀──────────────┘◀──────────────┘

A batch is B such streams side by side, one per column. Where a column's stream begins or wraps around, its
state starts anew. With an update stride k1 shorter than the window k2, windows overlap: each begins k1 steps
after the last, only its newest k1 steps are scored, and their gradient reaches back k1 to k2 steps:

    window j      |──────────────── k2 ────────────────|
    window j+1         |──────────────── k2 ────────────────|
                  |-k1-|                               |scored|

Full back-propagation is one window that holds the whole sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from training.networks.recurrence import State

Network = Callable[[Tensor, State], tuple[Tensor, State]]  # (inputs, state) -> (outputs, state)
Loss = Callable[[Tensor, Tensor], Tensor]  # (outputs, targets) -> mean, a scalar


class Window(NamedTuple):
    """One window of B streams, one per column."""

    inputs: Tensor  # (B, T, …)
    targets: Tensor  # (B, T, …)
    resets: Tensor  # (B,) bool: columns whose state starts anew before this window

    def columns(self, start: int, stop: int) -> Window:
        """The window of columns `start` to `stop` alone."""
        return Window(*(part[start:stop] for part in self))

    def to(self, device: torch.device) -> Window:
        """The same window on another device."""
        return Window(*(part.to(device, non_blocking=True) for part in self))


def cut(window: Window, length: int) -> Iterator[Window]:
    """One long window as several of `length` steps, the last perhaps shorter; 0 leaves it whole.

    Only the first of them starts anew, in the columns where the long one does.
    """
    steps = window.inputs.shape[1]
    length = length or steps
    for begin in range(0, steps, length):
        part = slice(begin, begin + length)
        resets = window.resets if begin == 0 else torch.zeros_like(window.resets)
        yield Window(window.inputs[:, part], window.targets[:, part], resets)


def start_anew(state: State, resets: Tensor, initial: State | None = None) -> State:
    """The state with the initial one, zeros where none is given, in the columns of `resets` (B,)."""
    anew = initial or tuple(part.new_zeros(()) for part in state)
    return tuple(torch.where(resets[None, :, None], fresh, part) for fresh, part in zip(anew, state, strict=True))


def detached(state: State) -> State:
    """The same numbers, in float32 where they were shorter, through which no gradient flows."""
    return tuple(part.detach().to(torch.promote_types(part.dtype, torch.float32)) for part in state)


def scored_steps(window: Window, stride: int = 0) -> int:
    """Targets that the loss of a window is the mean of; those that are NaN are not scored."""
    return int((~torch.isnan(window.targets[:, -stride:])).sum())  # a stride of 0 takes all


def unroll(
    network: Network, loss: Loss, window: Window, state: State, stride: int = 0, initial: State | None = None
) -> tuple[Tensor, State]:
    """Loss of one window, and the detached state with which the next window begins.

    Args:
        state: as the last window returned it, or the network's initial state.
        stride: steps from this window's begin to the next one's; 0 when windows do not overlap.
        initial: state of the columns that start anew, through which their gradient flows; zeros without.
    """
    state = start_anew(state, window.resets, initial)
    if stride in (0, window.inputs.shape[1]):
        outputs, carried = network(window.inputs, state)
        return loss(outputs, window.targets), detached(carried)
    first, carried = network(window.inputs[:, :stride], state)
    rest, _ = network(window.inputs[:, stride:], carried)
    outputs = torch.cat([first, rest], dim=1)
    return loss(outputs[:, -stride:], window.targets[:, -stride:]), detached(carried)
