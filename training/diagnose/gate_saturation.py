"""How often gates stand open, shut, or in between: a gate at its end passes no gradient to its own weights.

As in Karpathy, Johnson and Fei-Fei (2016), a gate is shut below 0.1 and open above 0.9; tanh units are saturated
beyond ±0.9.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from training.bptt import Window
from training.diagnose.opened_recurrence import OpenedRecurrence, opened
from training.networks.recurrence import State

SHUT, OPEN = 0.1, 0.9
TANH_UNITS = ("candidate", "hidden")


@dataclass(frozen=True)
class Gate:
    """One gate of one layer over all its units and many steps."""

    name: str
    mean: float
    low: float
    """Share below 0.1, of tanh units below −0.9."""
    high: float
    """Share above 0.9."""
    values: torch.Tensor
    """All of them, flat."""

    @property
    def saturated(self) -> float:
        """Share at either end."""
        return self.low + self.high


def gate_saturation(network: nn.Module, window: Window, state: State) -> tuple[Gate, ...]:
    """The gates of every layer over one window, top layer first."""
    twin, recurrence = opened(network)
    inputs = window.inputs.double() if window.inputs.is_floating_point() else window.inputs
    with torch.no_grad():
        twin(inputs.cpu(), tuple(part.detach().cpu().double() for part in state))
    return tuple(_gates(recurrence))


def _gates(recurrence: OpenedRecurrence) -> Iterator[Gate]:
    for layer, trace in reversed(list(enumerate(recurrence.layers))):
        prefix = f"layer {layer + 1} " if len(recurrence.layers) > 1 else ""
        for name, steps in trace.gates.items():
            values = torch.stack(steps).flatten()
            least = -OPEN if name in TANH_UNITS else SHUT
            low, high = (values < least).double().mean(), (values > OPEN).double().mean()
            yield Gate(prefix + name, float(values.mean()), float(low), float(high), values)
