"""A diagnosis as one figure: reach of the gradient, cost of truncation, gates, norms; the verdict above them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter
from numpy.typing import ArrayLike, NDArray

from training.diagnose.diagnosis import Diagnosis
from training.diagnose.gate_saturation import TANH_UNITS
from training.diagnose.gradient_reach import FADED, Curve
from training.diagnose.truncation_bias import TruncationBias
from training.diagnose.verdict import verdict
from training.drawing import BLUE, DARK, GREEN, GREY, ORANGE, RED, save_figure, style

COLOURS = (BLUE, ORANGE, GREEN, RED, GREY, DARK)
FLOOR = 1e-8
CLEAR: dict[str, Any] = {"frameon": True, "framealpha": 0.9, "edgecolor": "none"}  # of legends over lines


def draw_diagnosis(path: Path, found: Diagnosis) -> None:
    """Draw everything that was measured about one network."""
    figure = Figure(figsize=(9.6, 6.8), layout="constrained")
    axes = figure.subplots(2, 2)
    draw_reach(axes[0, 0], list(found.reach.curves), found.window)
    draw_truncation(axes[0, 1], {"": found.truncation}, found.window)
    _draw_gates(axes[1, 0], found)
    _draw_norms(axes[1, 1], found)
    figure.suptitle(textwrap.fill(f"{found.name}: {verdict(found)}", 105), fontsize=10, x=0.01, ha="left")
    save_figure(figure, path, colours=256)


def draw_reach(axes: Axes, curves: list[Curve], window: int = 0) -> None:
    """Norm of the gradient of one step's loss against how far back it is taken, as a share of that at the step."""
    style(axes)
    for place, curve in enumerate(curves):
        colour, lags = COLOURS[place % len(COLOURS)], np.arange(len(curve.mean))
        low, high = curve.band()
        axes.fill_between(lags, np.maximum(low, FLOOR), np.maximum(high, FLOOR), color=colour, alpha=0.12, linewidth=0)
        axes.plot(lags, np.where(curve.mean > FLOOR, curve.mean, np.nan), color=colour, label=curve.name)
    axes.axhline(FADED, color=GREY, linewidth=0.8, linestyle=":")
    mark_window(axes, window, len(curves[0].mean) - 1)
    axes.set_yscale("log")
    bottom = min(float(np.nanmin(curve.mean)) for curve in curves)
    axes.set_ylim(max(bottom / 3, FLOOR), None)
    axes.set_xlabel("lag k, steps back")
    axes.set_title("‖∂L(t)/∂h(t−k)‖ ÷ that at k = 0; dotted: 1 %", loc="left", fontsize=9)
    axes.legend(fontsize=8, **CLEAR)


def draw_truncation(
    axes: Axes, biases: dict[str, TruncationBias], window: int = 0, colours: Sequence[str] = COLOURS
) -> None:
    """Direction and length of truncated gradients against the full one; several networks one above the other."""
    style(axes)
    for place, (name, bias) in enumerate(biases.items()):
        colour, lengths = colours[place % len(colours)], [found.window for found in bias.by_window]
        prefix = f"{name}, " if name else ""
        axes.plot(lengths, [found.cosine for found in bias.by_window], "o-", color=colour, markersize=3.5,
                  label=f"{prefix}cosine")  # fmt: skip
        axes.plot(lengths, [found.norm_ratio for found in bias.by_window], "s:", color=colour if name else ORANGE,
                  markersize=3, label=f"{prefix}norm ratio")  # fmt: skip
    steps = max(bias.steps for bias in biases.values())
    axes.axhline(1, color=GREY, linewidth=0.8, linestyle=":")
    mark_window(axes, window, steps, height=0.25)
    axes.set_xscale("log", base=2)
    ticks = [1 << power for power in range(0, 12, 2) if 1 << power <= steps]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([str(tick) for tick in ticks])
    axes.set_ylim(0, None)
    axes.set_xlabel("window, steps")
    axes.set_title(f"truncated gradient beside that over {steps} steps", loc="left", fontsize=9)
    axes.legend(fontsize=8, loc="lower right", **CLEAR)


def mark_window(axes: Axes, window: int, last: int, height: float = 0.02) -> None:
    """A line where the window of training ends, if that is within the axis; its name at a height of the axes."""
    if 0 < window <= last:
        axes.axvline(window, color=GREY, linewidth=1, linestyle="--")
        axes.annotate(
            f"window {window}", (window, height), xycoords=("data", "axes fraction"), fontsize=7.5, color=DARK,
            xytext=(3, 0), textcoords="offset points",
        )  # fmt: skip


def _draw_gates(axes: Axes, found: Diagnosis) -> None:
    style(axes)
    gates = found.gates[::-1]
    places = np.arange(len(gates))
    low, high = (np.array([getattr(gate, side) for gate in gates]) for side in ("low", "high"))
    axes.barh(places, low, color=ORANGE, alpha=0.85, label="below 0.1 (tanh: −0.9)")
    axes.barh(places, 1 - low - high, left=low, color=GREY, alpha=0.3, label="between")
    axes.barh(places, high, left=1 - high, color=BLUE, alpha=0.85, label="above 0.9")
    axes.set_yticks(places, [f"{gate.name}{_tanh(gate.name)}" for gate in gates])
    axes.set_xlim(0, 1)
    axes.set_ylim(min(len(gates) - 4, 0) - 0.6, len(gates) - 0.4)  # bars as high whatever the cell
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_title("gates: share of units and steps", loc="left", fontsize=9)
    axes.legend(frameon=False, fontsize=7.5, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.1))


def _tanh(name: str) -> str:
    return " (tanh)" if name.split()[-1] in TANH_UNITS else ""


def _draw_norms(axes: Axes, found: Diagnosis) -> None:
    style(axes)
    norms = found.norms
    width = max(len(norms.steps) // 100, 1)
    for place, (layer, values) in enumerate(norms.by_layer.items()):
        colour = COLOURS[place % len(COLOURS)]
        axes.plot(_smoothed(norms.steps, width), _smoothed(values, width), color=colour, linewidth=1.1, label=layer)
    if len(norms.by_layer) > 1:
        axes.plot(_smoothed(norms.steps, width), _smoothed(norms.total, width), color=DARK, linewidth=1.3, label="all")
    share = norms.clipped(found.clip_norm)
    if share is not None:
        label = f"limit {found.clip_norm:g}: {share:.0%} shortened"
        axes.axhline(found.clip_norm, color=RED, linewidth=1, linestyle="--", label=label)
    axes.set_yscale("log")
    axes.set_xlabel("update" if found.norms_of_training else "window, at the weights as they are")
    title = "gradient norm over training" if found.norms_of_training else "gradient norm"
    axes.set_title(f"{title}, by layer", loc="left", fontsize=9)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (high / low) ** 0.3)  # room for the legend, above all curves
    axes.legend(fontsize=7.5, ncols=3, loc="upper left", **CLEAR)


def _smoothed(values: ArrayLike, width: int) -> NDArray[np.float64]:
    """Means of `width` neighbours each."""
    numbers = np.asarray(values, np.float64)
    whole = len(numbers) // width * width
    return np.asarray(numbers[:whole].reshape(-1, width).mean(axis=1))
