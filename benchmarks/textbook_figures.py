"""Draws `vanishing.png` and `clipping.png` of docs/bptt.md with `training.equations` alone, and prints what they show.

Untrained networks for the first: how long the gradient of the last step's loss is at the hidden states before it. For
the second the same network learns from the same sequences with and without clipping, and with smaller steps.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.table import print_table
from training.commands.equations import TASKS
from training.drawing import BLUE, DARK, GREEN, GREY, ORANGE, RED, save_figure, style
from training.equations import CELLS, Array, Batch, Network, bptt, draw_weights, initial_state, learn, squared_error

FOLDER = Path("docs") / "figures"
HIDDEN, INPUTS, SEQUENCES, LAGS = 64, 8, 32, 100
RADII = {0.8: GREY, 0.9: BLUE, 1.0: DARK, 1.1: ORANGE, 1.2: RED}
STEPS, DELAY, UNITS, BATCH, UPDATES, RATE, LIMIT = 20, 6, 32, 16, 1000, 0.2, 1.0  # of the network that learns


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks textbook_figures", description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the figures go")
    parser.add_argument("--seed", type=int, default=0, help="of weights and sequences")
    chosen = parser.parse_args(arguments)
    vanishing(chosen.folder / "vanishing.png", chosen.seed)
    clipping(chosen.folder / "clipping.png", chosen.seed)


def vanishing(path: Path, seed: int) -> None:
    """Left, vanilla RNNs without input, of growing spectral radius; right, the three cells with input."""
    silent = {f"radius {radius:g}": reach("RNN", seed, radius=radius, size=0) for radius in RADII}
    driven = {
        "RNN, radius 1": reach("RNN", seed),
        "GRU": reach("GRU", seed),
        "LSTM, forget gate starts at 0.73": reach("LSTM", seed),
        "LSTM, forget gate starts at 0.99": reach("LSTM", seed, forget_bias=5),
    }
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    _curves(left, silent, list(RADII.values()), "no input: tanh is straight", (1e-10, 1e8))
    _curves(right, driven, [DARK, GREEN, ORANGE, BLUE], "input of size 1: slopes are below 1", (1e-10, 1e5))
    left.set_ylabel("‖∂L_t/∂h_{t−k}‖, as a share of that at k = 0")
    save_figure(figure, path)
    rows = [[name, *(f"{norms[lag]:.1e}" for lag in (1, 10, 50, 100))] for name, norms in (silent | driven).items()]
    print_table("Gradient after k steps back", ("network", "k = 1", "10", "50", "100"), rows)


def reach(cell_name: str, seed: int, *, radius: float = 1, size: float = 1, forget_bias: float = 1) -> Array:
    """Mean norm of ∂L_t/∂h_{t−k} for k = 0 to LAGS, as a share of that at 0; recurrent matrices are orthogonal."""
    random = np.random.default_rng(seed)
    cell = CELLS[cell_name]
    w = draw_weights(cell, INPUTS, HIDDEN, 1, random)
    if cell_name == "RNN":
        w["W_hh"] *= radius
    if cell_name == "LSTM":
        w["b_f"][:] = forget_bias
    inputs = size * random.standard_normal((SEQUENCES, LAGS + 1, INPUTS))
    targets = random.standard_normal((SEQUENCES, LAGS + 1, 1))
    last = np.broadcast_to(np.arange(LAGS + 1) == LAGS, (SEQUENCES, LAGS + 1))
    run = bptt(Network(cell, squared_error), w, Batch(inputs, targets, last), initial_state(cell, w, SEQUENCES))
    norms: Array = np.linalg.norm(run.d_hidden, axis=-1).mean(axis=0)[::-1]
    norms /= norms[0]
    return norms


def _curves(
    axes: Axes, curves: dict[str, Array], colours: Sequence[str], title: str, limits: tuple[float, float]
) -> None:
    style(axes)
    for (name, norms), colour in zip(curves.items(), colours, strict=True):
        axes.semilogy(norms, color=colour, linewidth=1.6, label=name)
    axes.axhline(0.01, color=GREY, linewidth=0.8, linestyle=":")
    axes.text(LAGS, 0.013, "1 %", fontsize=7, color=GREY, ha="right")
    axes.set_ylim(*limits)
    axes.set_xlabel("steps back, k")
    axes.set_title(title, loc="left", fontsize=10)
    axes.legend(fontsize=7, frameon=False)


def clipping(path: Path, seed: int) -> None:
    """The same network and sequences: gradients as they come, clipped, and as they come with smaller steps."""
    runs = {
        "as they come": learning(seed, RATE, np.inf),
        f"clipped at {LIMIT:g}": learning(seed, RATE, LIMIT),
        "as they come, a quarter of the rate": learning(seed, RATE / 4, np.inf),
    }
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (name, (losses, norms)), colour in zip(runs.items(), (RED, BLUE, GREEN), strict=True):
        right.plot(np.convolve(losses, np.full(20, 1 / 20), mode="valid"), color=colour, linewidth=1.4, label=name)
        left.semilogy(norms, color=colour, linewidth=0.7)
    left.axhline(LIMIT, color=GREY, linewidth=0.8, linestyle=":")
    right.axhline(TASKS["recall"].baseline, color=GREY, linewidth=0.8, linestyle=":")
    right.text(980, TASKS["recall"].baseline, "nothing learned", fontsize=7, color=GREY, va="top", ha="right")
    for axes, title in ((left, "norm of the gradient, before clipping"), (right, "loss, mean of 20 updates")):
        style(axes)
        axes.set_xlabel("update")
        axes.set_title(title, loc="left", fontsize=10)
    right.legend(fontsize=7, frameon=False)
    save_figure(figure, path)
    rows = [
        [
            name,
            f"{losses[:100].mean():.3f}",
            f"{losses[400:500].mean():.3f}",
            f"{losses[-100:].mean():.3f}",
            f"{np.median(norms):.2f}",
            f"{norms.max():.1f}",
        ]
        for name, (losses, norms) in runs.items()
    ]
    columns = ("gradients", "loss, updates 1–100", "401–500", "901–1000", "median norm", "longest")
    print_table("Clipping", columns, rows)


def learning(seed: int, rate: float, limit: float) -> tuple[Array, Array]:
    """Loss and gradient norm of each update of a vanilla RNN that learns to recall a symbol."""
    random = np.random.default_rng(seed)
    draw, loss, width, _ = TASKS["recall"]
    network = Network(CELLS["RNN"], loss)
    w = draw_weights(network.cell, width, UNITS, width, random)
    batches = (draw(random, BATCH, STEPS, DELAY) for _ in range(UPDATES))
    updates = [(run.loss, norm) for run, norm in learn(network, w, batches, STEPS, STEPS, rate, limit)]
    losses, norms = np.array(updates).T
    return losses, norms
