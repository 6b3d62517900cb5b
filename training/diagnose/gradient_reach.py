"""How far the gradient of one step's loss reaches back: ‖∂L_t/∂h_{t−k}‖ for every lag k, per layer and kind of state.

With W the recurrent matrix of a vanilla RNN and a_t its pre-activation, one step back multiplies by diag(f'(a_t)) W,
whose length is at most that of W: the norm falls or grows about geometrically, by a factor that the spectral radius
of W bounds only in the long run (Pascanu, Mikolov and Bengio, 2013). In an LSTM the way along the cell state is
multiplied by the forget gate instead. Shapes: B batch, K longest lag.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.bptt import Loss, Window
from training.diagnose.opened_recurrence import OpenedRecurrence, opened
from training.errors import TrainingError
from training.networks.recurrence import GATES, Recurrence, State

Floats = NDArray[np.float64]
FADED = 0.01
NOISE = 1e-10  # of the first norm: below it nothing is read off the curve
GATE_NAMES = {"RNN": ("hidden",), "LSTM": ("input", "forget", "candidate", "output"), "GRU": ("reset", "update", "new")}


@dataclass(frozen=True)
class Curve:
    """The gradient along one way back, such as `layer 1 cell`."""

    name: str
    norms: Floats
    """(K + 1, B) at lag 0 to K; NaN before a sequence begins."""

    @property
    def mean(self) -> Floats:
        """(K + 1,) mean norm over sequences, as a share of that at lag 0."""
        mean = np.nanmean(self.norms, axis=1)
        return np.asarray(mean / max(mean[0], np.finfo(np.float64).tiny))

    def band(self, low: float = 0.1, high: float = 0.9) -> tuple[Floats, Floats]:
        """Quantiles over sequences, as shares of the mean at lag 0."""
        first = max(float(np.nanmean(self.norms[0])), np.finfo(np.float64).tiny)
        below, above = np.nanquantile(self.norms, [low, high], axis=1) / first
        return below, above

    def reach(self, share: float = FADED) -> int | None:
        """The lag from which on the mean stays at or below a share of that at lag 0; None where it never does."""
        above = np.flatnonzero(self.mean > share)
        return int(above[-1]) + 1 if above[-1] + 1 < len(self.mean) else None

    @property
    def factor(self) -> float:
        """What one step back multiplies the norm by, from a straight line through its logarithm."""
        mean = self.mean
        lags = np.flatnonzero(mean > NOISE)
        lags = lags[lags > 0]
        return float(np.exp(np.polyfit(lags, np.log(mean[lags]), 1)[0])) if len(lags) > 1 else 0.0


@dataclass(frozen=True)
class RecurrentMatrix:
    """Size of one gate's hidden-to-hidden matrix: what one step back multiplies by, but for activations and gates."""

    name: str
    spectral_radius: float
    largest_singular_value: float


@dataclass(frozen=True)
class GradientReach:
    """All ways back of one network, top layer first, and its recurrent matrices."""

    curves: tuple[Curve, ...]
    matrices: tuple[RecurrentMatrix, ...]

    @property
    def slowest(self) -> Curve:
        """The way back along which most is left at the longest lag."""
        return max(self.curves, key=lambda curve: (curve.reach() or len(curve.mean), curve.mean[-1]))

    @property
    def longest_lag(self) -> int:
        """K."""
        return len(self.curves[0].norms) - 1


def gradient_reach(network: nn.Module, loss: Loss, window: Window, state: State) -> GradientReach:
    """Measure how the gradient of the loss at each column's last scored step travels back through the window.

    Args:
        loss: (outputs, targets) -> mean loss.
        state: with which the window begins; where `window.resets` is set, it has been zeroed.

    Raises:
        TrainingError: no step of the window is scored.
    """
    twin, recurrence = opened(network)
    inputs = window.inputs.double() if window.inputs.is_floating_point() else window.inputs
    outputs, _ = twin(inputs.cpu(), tuple(part.detach().cpu().double() for part in state))
    anchors = last_scored(window.targets.cpu())
    total = _summed_losses(loss, outputs, window.targets.cpu(), anchors)
    named = list(_ways_back(recurrence))
    gradients = torch.autograd.grad(total, [node for _, nodes in named for node in nodes])
    steps, curves = outputs.shape[1], []
    for place, (name, _) in enumerate(named):
        norms = torch.stack([gradient.norm(dim=-1) for gradient in gradients[place * steps : (place + 1) * steps]])
        curves.append(Curve(name, _by_lag(norms.numpy(), anchors.numpy())))
    return GradientReach(tuple(curves), tuple(recurrent_matrices(recurrence.closed)))


def last_scored(targets: Tensor) -> Tensor:
    """(B,) the last step of each column whose target is none that is NaN; −1 where there is none."""
    scored = ~torch.isnan(targets).flatten(2).any(-1) if targets.dim() > 2 else ~torch.isnan(targets)
    steps = torch.arange(1, scored.shape[1] + 1)
    return (scored * steps).max(dim=1).values - 1


def _summed_losses(loss: Loss, outputs: Tensor, targets: Tensor, anchors: Tensor) -> Tensor:
    if not bool((anchors >= 0).any()):
        raise TrainingError("data: expected windows with scored steps, got none; give other or longer sequences")
    losses = []
    for step in torch.unique(anchors[anchors >= 0]).tolist():
        columns = torch.nonzero(anchors == step)[:, 0]
        # A mean over columns, of which each has a gradient of its own.
        losses.append(loss(outputs[columns, step : step + 1], targets[columns, step : step + 1]) * len(columns))
    return torch.stack(losses).sum()


def _ways_back(recurrence: OpenedRecurrence) -> Iterator[tuple[str, list[Tensor]]]:
    for layer, trace in reversed(list(enumerate(recurrence.layers))):
        prefix = f"layer {layer + 1} " if len(recurrence.layers) > 1 else ""
        yield f"{prefix}hidden", trace.hidden
        if trace.cell:
            yield f"{prefix}cell", trace.cell


def _by_lag(norms: Floats, anchors: NDArray[np.int64]) -> Floats:
    """Norms (T, B) by step as norms (K + 1, B') by lag, of the columns that have an anchor."""
    columns = np.flatnonzero(anchors >= 0)
    lags = np.arange(int(anchors.max()) + 1)
    steps = anchors[columns] - lags[:, None]  # (K + 1, B')
    return np.where(steps >= 0, norms[np.maximum(steps, 0), columns], np.nan)


def recurrent_matrices(recurrence: Recurrence) -> Iterator[RecurrentMatrix]:
    """Spectral radius and largest singular value of each gate's recurrent matrix, top layer first."""
    for layer in reversed(range(recurrence.layers)):
        prefix = f"layer {layer + 1} " if recurrence.layers > 1 else ""
        weight = getattr(recurrence.rnn, f"weight_hh_l{layer}").detach().double().cpu()
        for name, gate in zip(GATE_NAMES[recurrence.cell], weight.chunk(GATES[recurrence.cell]), strict=True):
            radius = float(torch.linalg.eigvals(gate).abs().max())
            yield RecurrentMatrix(prefix + name, radius, float(torch.linalg.matrix_norm(gate, 2)))
