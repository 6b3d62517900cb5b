"""What truncation costs: the gradient of windows of growing length beside that of the whole stretch.

The state goes on from window to window and the gradient does not, so a truncated gradient lacks all that reaches back
over a border: it is biased, and the shorter the windows the more (Tallec and Ollivier, 2017). Both gradients are those
of the same stretch of the same sequences, so that nothing but truncation tells them apart.

Windows lie as in `equations.truncated_bptt`, over each sequence of its own: side by side from the begin, the last one
drawn back so that it is whole. Where only the last step is scored, its loss goes back over the last `window` steps,
however many steps the windows before it have left over:

    window 4   │◀─────────▶│◀─────────▶│        9 steps
                                 │◀─────────▶│  the ninth alone is scored by it
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.bptt import Loss, Window, scored_steps, start_anew
from training.networks.recurrence import State


@dataclass(frozen=True)
class TruncatedGradient:
    """Windows of one length against the whole: direction and length of the recurrence's gradient."""

    window: int
    cosine: float
    norm_ratio: float


@dataclass(frozen=True)
class TruncationBias:
    """The comparison for windows of growing length, up to half of the whole stretch."""

    steps: int
    """Of the whole stretch."""
    by_window: tuple[TruncatedGradient, ...]

    def at(self, window: int) -> TruncatedGradient | None:
        """The comparison for a length that was measured, if it was."""
        return next((found for found in self.by_window if found.window == window), None)

    def enough(self, cosine: float) -> int | None:
        """The shortest window from which on the direction is as near as that."""
        near = None
        for found in reversed(self.by_window):
            if found.cosine < cosine:
                break
            near = found.window
        return near


def truncation_bias(
    network: nn.Module, loss: Loss, window: Window, state: State, lengths: Sequence[int]
) -> TruncationBias:
    """Compare gradients of the recurrence's weights, truncated to each length, with the full one of the window.

    Args:
        lengths: of truncated windows; those longer than half the window, of which there is no second, are left out.
    """
    twin = copy.deepcopy(network).eval()
    steps = window.inputs.shape[1]
    before = _states(twin, window, start_anew(state, window.resets))
    full = _gradient(twin, loss, window, before, steps)
    found = []
    for length in sorted({length for length in lengths if 0 < 2 * length <= steps}):
        truncated = _gradient(twin, loss, window, before, length)
        cosine = nn.functional.cosine_similarity(truncated, full, dim=0)
        found.append(TruncatedGradient(length, float(cosine), float(truncated.norm() / full.norm())))
    return TruncationBias(steps, tuple(found))


@torch.no_grad()
def _states(network: nn.Module, window: Window, state: State) -> State:
    """The state before each step, each part (L, B, T, H): where a window begins is for every sequence its own."""
    steps = []
    for step in range(window.inputs.shape[1]):
        steps.append(state)
        _, state = network(window.inputs[:, step : step + 1], state)
    return tuple(torch.stack(part, dim=2) for part in zip(*steps, strict=True))


def _gradient(network: nn.Module, loss: Loss, window: Window, before: State, length: int) -> Tensor:
    """Gradient of the mean loss over the window with respect to all weights of the recurrence, as one vector."""
    network.zero_grad(set_to_none=True)
    scored = max(scored_steps(window), 1)
    for inputs, state, newest, targets in _windows(window, before, length):
        if share := int((~torch.isnan(targets)).sum()) / scored:
            outputs, _ = network(inputs, state)
            (loss(outputs[newest][None], targets[None]) * share).backward()  # type: ignore[no-untyped-call]
    recurrence = network.recurrence
    assert isinstance(recurrence, nn.Module)
    gradients = [weight.grad for weight in recurrence.parameters() if weight.grad is not None]
    return torch.cat([gradient.flatten() for gradient in gradients]).double()


def _windows(window: Window, before: State, length: int) -> Iterator[tuple[Tensor, State, Tensor, Tensor]]:
    """Inputs (B, length, …) of each window, the state that it begins with, which of its steps are new (B, length), and
    the targets of those (N, …): every step up to a column's last scored one is new once."""
    columns, steps = window.inputs.shape[:2]
    column = torch.arange(columns, device=window.inputs.device)
    ends = _ends(window.targets)
    for done in range(0, steps, length):
        stop = ends.clamp(max=done + length)  # (B,)
        start = (stop - length).clamp(min=0)
        taken = start[:, None] + torch.arange(length, device=start.device)  # (B, length)
        newest = (taken >= done) & (taken < stop[:, None])
        targets = window.targets[column[:, None], taken][newest]
        state = tuple(states[:, column, start].contiguous() for states in before)
        yield window.inputs[column[:, None], taken], state, newest, targets


def _ends(targets: Tensor) -> Tensor:
    """(B,) steps up to and with the last one that is scored, in each column."""
    scored = ~torch.isnan(targets.flatten(2)).all(dim=-1) if targets.ndim > 2 else ~torch.isnan(targets)  # (B, T)
    numbers = torch.arange(1, targets.shape[1] + 1, device=targets.device)
    return (scored * numbers).amax(dim=1)
