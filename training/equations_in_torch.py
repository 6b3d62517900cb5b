"""Weights, targets and losses of `training.equations` as PyTorch has them, and back.

PyTorch keeps the gates of a cell under each other in one matrix, and two biases per gate which it adds. The first
of them is the formula's b; the second stays zero, but for the GRU's candidate, whose b_hn it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from training.equations import Array, Batch, Weights
from training.networks.recurrence import Cell

GATES: dict[Cell, str] = {"RNN": "h", "LSTM": "ifgo", "GRU": "rzn"}  # in PyTorch's order
NOT_SCORED = -100  # class number of a step that is not scored; the number there is NaN


def pack(cell: Cell, w: Weights) -> list[Array]:
    """The six parameters of a layer and its readout: W_ih, W_hh, b_ih, b_hh, W_hy, b_y."""
    w_ih, w_hh, b_ih = (np.concatenate([w[kind + gate] for gate in GATES[cell]]) for kind in ("W_x", "W_h", "b_"))
    b_hh = np.zeros_like(b_ih)
    if cell == "GRU":
        b_hh[-len(w["b_hn"]) :] = w["b_hn"]
    return [w_ih, w_hh, b_ih, b_hh, w["W_hy"], w["b_y"]]


def unpack(cell: Cell, parameters: Iterable[Tensor]) -> Weights:
    """Weights, or gradients, by the names of the formulas, from the six that `pack` makes; copied."""
    w_ih, w_hh, b_ih, b_hh, w_hy, b_y = (parameter.detach().numpy().copy() for parameter in parameters)
    w = {"W_hy": w_hy, "b_y": b_y}
    for kind, stacked in (("W_x", w_ih), ("W_h", w_hh), ("b_", b_ih)):
        parts = np.split(stacked, len(GATES[cell]))
        w |= {kind + gate: part for gate, part in zip(GATES[cell], parts, strict=True)}
    return w | {"b_hn": np.split(b_hh, 3)[2]} if cell == "GRU" else w


@torch.no_grad()
def load(cell: Cell, w: Weights, module: nn.Module) -> None:
    """Write weights into a module that holds one recurrent layer or cell, then a linear readout, and nothing else."""
    for parameter, array in zip(module.parameters(), pack(cell, w), strict=True):
        parameter.copy_(torch.from_numpy(array))


def gradients(cell: Cell, module: nn.Module) -> Weights:
    """The gradients of a module as `load` takes it; zeros where none came."""
    return unpack(cell, [torch.zeros_like(p) if p.grad is None else p.grad for p in module.parameters()])


def hold_second_bias(cell: Cell, layer: nn.RNNBase) -> None:
    """Keep the bias that the formulas do not have at zero; it would take a second share of every norm and step."""
    bias = cast(Tensor, layer.bias_hh_l0)
    moves = torch.zeros_like(bias)
    if cell == "GRU":
        moves[-layer.hidden_size :] = 1
    bias.register_hook(lambda gradient: gradient * moves)  # type: ignore[no-untyped-call]


def targets(batch: Batch) -> Tensor:
    """The batch's targets, marked where a step is not scored."""
    if batch.targets.ndim == 2:
        return torch.from_numpy(np.where(batch.scored, batch.targets, NOT_SCORED))
    return torch.from_numpy(np.where(batch.scored[..., None], batch.targets, np.nan))


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean over the scored steps of ½ ‖y − target‖² or −log softmax(y)[target]; 0 where there are none."""
    if targets.ndim == 2:
        scored = targets != NOT_SCORED
        losses = nn.functional.cross_entropy(outputs.mT, targets, ignore_index=NOT_SCORED, reduction="none")
    else:
        scored = ~targets[..., 0].isnan()
        losses = 0.5 * (outputs - torch.where(scored[..., None], targets, outputs)).square().sum(dim=-1)
    return torch.where(scored, losses, 0).sum() / scored.sum().clamp(min=1)
