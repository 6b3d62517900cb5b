"""Length of the gradient, layer by layer, and how often clipping shortens it."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from training.bptt import Loss, Window, unroll
from training.networks.recurrence import State


@dataclass(frozen=True)
class GradientNorms:
    """Norms of some windows' or updates' gradients, in the order in which they came."""

    steps: NDArray[np.int64]
    """(N,) number of the window or of the update."""
    by_layer: dict[str, NDArray[np.float64]]
    """(N,) by name of the layer."""
    total: NDArray[np.float64]
    """(N,) of all weights together."""

    def clipped(self, limit: float) -> float | None:
        """Share longer than a limit; None where there is no limit."""
        return float((self.total > limit).mean()) if limit else None


def layer_of(parameter: str) -> str:
    """The layer that a parameter belongs to: `recurrence 1`, or the name of another part of the network."""
    part = parameter.split(".")[0]
    _, found, layer = parameter.rpartition("_l")
    return f"{part} {int(layer) + 1}" if part == "recurrence" and found and layer.isdigit() else part


def layer_norms(network: nn.Module) -> dict[str, float]:
    """The norm of each layer's gradient as it stands."""
    grouped: dict[str, list[torch.Tensor]] = {}
    for name, parameter in network.named_parameters():
        if parameter.grad is not None:
            grouped.setdefault(layer_of(name), []).append(parameter.grad)
    return {layer: float(nn.utils.get_total_norm(gradients)) for layer, gradients in grouped.items()}


def window_norms(network: nn.Module, loss: Loss, windows: Iterable[Window], state: State, stride: int) -> GradientNorms:
    """Gradient norms of consecutive windows, the state going on from one to the next, at weights that stay as they are.

    Args:
        stride: as `unroll` takes it.
    """
    twin = copy.deepcopy(network).eval()
    found: list[dict[str, float]] = []
    for window in windows:
        twin.zero_grad(set_to_none=True)
        mean, state = unroll(twin, loss, window, state, stride)
        mean.backward()  # type: ignore[no-untyped-call]
        found.append(layer_norms(twin))
    by_layer = {layer: np.array([norms.get(layer, 0.0) for norms in found]) for layer in found[0]}
    total = np.sqrt(sum(norms**2 for norms in by_layer.values()))
    return GradientNorms(np.arange(len(found)), by_layer, total)
