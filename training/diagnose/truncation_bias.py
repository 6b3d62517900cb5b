"""What truncation costs: the gradient of windows of growing length beside that of the whole stretch.

The state goes on from window to window and the gradient does not, so a truncated gradient lacks all that reaches back
over a border: it is biased, and the shorter the windows the more (Tallec and Ollivier, 2017). Both gradients are those
of the same stretch of the same sequences, so that nothing but truncation tells them apart.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.bptt import Loss, Window, cut, scored_steps, unroll
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
    full = _gradient(twin, loss, window, state, steps)
    found = []
    for length in sorted({length for length in lengths if 0 < 2 * length <= steps}):
        truncated = _gradient(twin, loss, window, state, length)
        cosine = nn.functional.cosine_similarity(truncated, full, dim=0)
        found.append(TruncatedGradient(length, float(cosine), float(truncated.norm() / full.norm())))
    return TruncationBias(steps, tuple(found))


def _gradient(network: nn.Module, loss: Loss, window: Window, state: State, length: int) -> Tensor:
    """Gradient of the mean loss over the window with respect to all weights of the recurrence, as one vector."""
    network.zero_grad(set_to_none=True)
    scored = max(scored_steps(window), 1)
    for part in cut(window, length):
        mean, state = unroll(network, loss, part, state)
        if mean.requires_grad:
            (mean * (scored_steps(part) / scored)).backward()  # type: ignore[no-untyped-call]
    recurrence = network.recurrence
    assert isinstance(recurrence, nn.Module)
    gradients = [weight.grad for weight in recurrence.parameters() if weight.grad is not None]
    return torch.cat([gradient.flatten() for gradient in gradients]).double()
