"""A recurrence run one step at a time with its inside laid open: every hidden and cell state, every gate.

The numbers are those of `Recurrence` without dropout; a fused layer computes them faster and shows none of them.
Shapes: B batch, T time, L layers, H hidden.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from training.networks.recurrence import Recurrence, State


@dataclass
class LayerTrace:
    """What one layer went through: one tensor (B, H) for each step."""

    hidden: list[Tensor] = field(default_factory=list)
    cell: list[Tensor] = field(default_factory=list)
    """Empty but for an LSTM."""
    gates: dict[str, list[Tensor]] = field(default_factory=dict)
    """By name: values in (0, 1), but for `candidate` and `hidden`, which are in (−1, 1)."""

    def add(self, hidden: Tensor, cell: Tensor | None, gates: dict[str, Tensor]) -> None:
        """One step more."""
        self.hidden.append(hidden)
        if cell is not None:
            self.cell.append(cell)
        for name, values in gates.items():
            self.gates.setdefault(name, []).append(values)


class OpenedRecurrence(nn.Module):
    """Takes the place of a `Recurrence`; `layers` holds the trace of the last forward pass."""

    def __init__(self, closed: Recurrence) -> None:
        super().__init__()
        self.closed = closed
        self.layers: list[LayerTrace] = []

    def initial_state(self, batch: int) -> State:
        """The state of sequences that have seen nothing."""
        return self.closed.initial_state(batch)

    def forward(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Outputs (B, T, H) and the state after them, as the closed recurrence gives them."""
        self.layers = [LayerTrace() for _ in range(self.closed.layers)]
        after = []
        for layer, trace in enumerate(self.layers):
            carried = tuple(part[layer] for part in state)
            outputs, carried = self._run(layer, trace, inputs, carried)
            inputs = outputs + inputs if self.closed.residual and layer else outputs
            after.append(carried)
        return inputs, tuple(torch.stack(parts) for parts in zip(*after, strict=True))

    def _run(self, layer: int, trace: LayerTrace, inputs: Tensor, carried: State) -> tuple[Tensor, State]:
        weights = {kind: getattr(self.closed.rnn, f"{kind}_l{layer}") for kind in ("weight_ih", "bias_ih")}
        driven = nn.functional.linear(inputs, *weights.values())  # (B, T, gates · H)
        for drive in driven.unbind(dim=1):
            recurrent = nn.functional.linear(
                carried[0], *(getattr(self.closed.rnn, f"{kind}_l{layer}") for kind in ("weight_hh", "bias_hh"))
            )
            carried, gates = STEPS[self.closed.cell](drive, recurrent, carried)
            trace.add(carried[0], carried[1] if len(carried) > 1 else None, gates)
        return torch.stack(trace.hidden, dim=1), carried


def _rnn_step(drive: Tensor, recurrent: Tensor, carried: State) -> tuple[State, dict[str, Tensor]]:
    hidden = torch.tanh(drive + recurrent)
    return (hidden,), {"hidden": hidden}


def _lstm_step(drive: Tensor, recurrent: Tensor, carried: State) -> tuple[State, dict[str, Tensor]]:
    raw = (drive + recurrent).chunk(4, dim=-1)
    take, keep, show = (torch.sigmoid(raw[place]) for place in (0, 1, 3))
    candidate = torch.tanh(raw[2])
    cell = keep * carried[1] + take * candidate
    gates = {"input": take, "forget": keep, "output": show, "candidate": candidate}
    return (show * torch.tanh(cell), cell), gates


def _gru_step(drive: Tensor, recurrent: Tensor, carried: State) -> tuple[State, dict[str, Tensor]]:
    (drive_r, drive_z, drive_n), (recurrent_r, recurrent_z, recurrent_n) = drive.chunk(3, -1), recurrent.chunk(3, -1)
    reset, update = torch.sigmoid(drive_r + recurrent_r), torch.sigmoid(drive_z + recurrent_z)
    candidate = torch.tanh(drive_n + reset * recurrent_n)
    hidden = (1 - update) * candidate + update * carried[0]
    return (hidden,), {"reset": reset, "update": update, "candidate": candidate}


STEPS = {"RNN": _rnn_step, "LSTM": _lstm_step, "GRU": _gru_step}


def opened(network: nn.Module) -> tuple[nn.Module, OpenedRecurrence]:
    """A copy of a network, without dropout and in float64 on the CPU, and its recurrence, laid open."""
    twin = copy.deepcopy(network).cpu().double().eval()
    closed = twin.recurrence
    assert isinstance(closed, Recurrence)
    recurrence = OpenedRecurrence(closed)
    twin.recurrence = recurrence
    return twin, recurrence
