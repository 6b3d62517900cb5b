"""Gradient flow while a network is fitted, for TensorBoard: measured after epochs, within a small share of the time.

It looks at copies, without dropout and without drawing a random number: a fit that is watched goes as one that is not.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from training.bptt import Loss, Window, start_anew
from training.diagnose.gate_saturation import Gate, gate_saturation
from training.diagnose.gradient_reach import Curve, gradient_reach, last_scored
from training.diagnose.truncation_bias import TruncationBias, truncation_bias
from training.networks.recurrence import Recurrence, State

SHARE_OF_TIME = 0.02
COLUMNS = 16
LONGEST = 256
VALUES_IN_HISTOGRAM = 20_000


class Windows(Protocol):
    """The training data of a fit."""

    @property
    def windows_per_epoch(self) -> int: ...

    def window(self, epoch: int, index: int) -> Window: ...


@dataclass
class Measured:
    """Numbers by the name that TensorBoard shows them under."""

    scalars: dict[str, float] = field(default_factory=dict)
    histograms: dict[str, Tensor] = field(default_factory=dict)


class GradientMonitor:
    """Watches one network on one and the same stretch of its training data: its first window or two."""

    def __init__(self, network: nn.Module, loss: Loss, train: Windows) -> None:
        self.network, self.loss, self.train = network, loss, train
        self.spent = 0.0

    def due(self, seconds: float) -> bool:
        """Whether another measurement keeps within its share of a fit that has taken so long."""
        return self.spent <= SHARE_OF_TIME * seconds

    def measure(self) -> Measured:
        """Reach of the gradient, gates and truncation within one window, of the network as it stands."""
        began, measured = time.monotonic(), Measured()
        window, state = self._stretch()
        if bool((last_scored(window.targets) > 0).any()):
            self._into(measured, window, state)
        self.spent += time.monotonic() - began
        return measured

    def _into(self, measured: Measured, window: Window, state: State) -> None:
        for curve in gradient_reach(self.network, self.loss, window, state).curves:
            measured.scalars |= dict(_reach_scalars(curve))
        for gate in gate_saturation(self.network, window, state):
            measured.scalars[f"saturation/{_tag(gate.name)}"] = gate.saturated
            measured.histograms[f"gates/{_tag(gate.name)}"] = _some(gate)
        steps = window.inputs.shape[1]
        lengths = [length for length in (steps // 8, steps // 4, steps // 2) if length]
        bias = truncation_bias(self.network, self.loss, window.to(self._device()), state, lengths)
        measured.scalars |= dict(_truncation_scalars(bias))

    @torch.no_grad()
    def _stretch(self) -> tuple[Window, State]:
        """The second window of the first epoch where there is one, with the state that the first leaves behind."""
        first = _shortened(self.train.window(0, 0))
        recurrence = self.network.recurrence
        assert isinstance(recurrence, Recurrence)
        initial = state = recurrence.initial_state(first.resets.shape[0])
        if self.train.windows_per_epoch == 1:
            return first, state
        second = _shortened(self.train.window(0, 1))
        training = self.network.training
        _, state = self.network.eval()(first.inputs.to(self._device()), state)
        self.network.train(training)
        return second, start_anew(state, second.resets.to(self._device()), initial)

    def _device(self) -> torch.device:
        return next(self.network.parameters()).device


def _shortened(window: Window) -> Window:
    return Window(window.inputs[:COLUMNS, :LONGEST], window.targets[:COLUMNS, :LONGEST], window.resets[:COLUMNS])


def _reach_scalars(curve: Curve) -> Iterator[tuple[str, float]]:
    name, mean = _tag(curve.name), curve.mean
    yield f"gradient_flow/{name}/per_step", curve.factor
    for power in range(9):
        if 1 << power < len(mean):
            yield f"gradient_flow/{name}/lag_{1 << power}", float(mean[1 << power])
    reach = curve.reach()
    if reach is not None:
        yield f"gradient_flow/{name}/lag_of_1_percent", float(reach)


def _truncation_scalars(bias: TruncationBias) -> Iterator[tuple[str, float]]:
    for found in bias.by_window:
        yield f"truncation/window_{found.window}/cosine", found.cosine
        yield f"truncation/window_{found.window}/norm_ratio", found.norm_ratio


def _some(gate: Gate) -> Tensor:
    return gate.values[:: max(len(gate.values) // VALUES_IN_HISTOGRAM, 1)]


def _tag(name: str) -> str:
    return name.replace(" ", "_")
