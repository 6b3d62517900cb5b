"""Plots for a model card, drawn from plain numbers into small PNG files.

Drawn without a display and without pyplot's global state. Shapes: P prediction length, Q quantile levels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from training.drawing import BLUE, DARK, GREY, ORANGE, new_figure, save_figure, style


@dataclass(frozen=True)
class Fan:
    """One forecast to draw: what came before, what was foretold and what came."""

    title: str
    history: ArrayLike
    """The last values before the origin."""
    actual: ArrayLike
    """(P,)"""
    quantiles: ArrayLike
    """(P, Q)"""
    levels: Sequence[float]
    times: NDArray[np.datetime64] | None = None
    """Of history and actual values; steps are numbered without."""


def plot_loss(path: Path, train: Sequence[float], validation: Sequence[float], best: int, label: str) -> None:
    """Loss of training and validation by epoch, with the epoch whose weights were kept."""
    figure, axes = new_figure(6.4, 3.2)
    epochs = np.arange(1, len(train) + 1)
    axes.plot(epochs, train, color=GREY, label="training")
    axes.plot(epochs, validation, color=BLUE, label="validation")
    axes.plot(best + 1, validation[best], "o", color=ORANGE, label=f"kept: epoch {best + 1}")
    if min(*train, *validation) > 0 and max(*train, *validation) > 5 * min(*train, *validation):
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    axes.legend(frameon=False)
    save_figure(figure, path)


def plot_fans(path: Path, fans: Sequence[Fan], unit: str | None) -> None:
    """Forecasts as bands between opposite quantiles around the median, with what came."""
    figure = Figure(figsize=(7.2, 2.1 * len(fans)), layout="constrained")
    for place, fan in enumerate(fans):
        axes = figure.add_subplot(len(fans), 1, place + 1)
        style(axes)
        _draw_fan(axes, fan)
        axes.set_title(fan.title, loc="left", fontsize=9)
        if unit:
            axes.set_ylabel(unit)
        if place == 0:
            axes.legend(frameon=False, fontsize=8, ncols=3, loc="lower right", bbox_to_anchor=(1, 0.97))
    save_figure(figure, path)


def _draw_fan(axes: Axes, fan: Fan) -> None:
    history, actual, quantiles = (np.asarray(part, np.float64) for part in (fan.history, fan.actual, fan.quantiles))
    axis: NDArray[Any] = np.arange(len(history) + len(actual)) if fan.times is None else fan.times
    before, ahead = axis[: len(history)], axis[len(history) :]
    axes.plot(axis, np.concatenate([history, actual]), color=DARK, linewidth=1.1, label="observed")
    count = len(fan.levels)
    for low in range(count // 2):
        high = count - 1 - low
        share = f"{100 * (fan.levels[high] - fan.levels[low]):.0f} %" if low == 0 else None
        band = quantiles[:, low], quantiles[:, high]
        axes.fill_between(ahead, *band, color=BLUE, alpha=0.13, linewidth=0, label=share)
    axes.plot(ahead, quantiles[:, count // 2], color=BLUE, linewidth=1.3, label="median")
    if len(before):
        axes.axvline(ahead[0], color=GREY, linewidth=0.8, linestyle=":")
    if fan.times is not None:
        ticks = AutoDateLocator(minticks=3, maxticks=8)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(ticks)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(ticks, show_offset=False))  # type: ignore[no-untyped-call]


def plot_coverage(path: Path, covered: Mapping[float, float], pit: Sequence[float]) -> None:
    """How often values fell below each quantile of the forecasts, and where they fell one step ahead.

    Args:
        covered: share of values at or below the quantile of each level; on the diagonal when calibrated.
        pit: density of the probability integral transform one step ahead, in equal bins; 1 when calibrated.
    """
    figure = Figure(figsize=(6.8, 3.0), layout="constrained")
    left, right = (figure.add_subplot(1, 2, place) for place in (1, 2))
    for axes in (left, right):
        style(axes)
    left.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
    left.plot(list(covered), list(covered.values()), "o-", color=BLUE, markersize=4)
    left.set_xlabel("quantile level")
    left.set_ylabel("share of values below it")
    left.set_title("forecasts, all horizons", loc="left", fontsize=9)
    edges = np.linspace(0, 1, len(pit) + 1)
    right.bar(edges[:-1], pit, width=1 / len(pit), align="edge", color=BLUE, alpha=0.7)
    right.axhline(1, color=GREY, linewidth=0.8, linestyle=":")
    right.set_xlabel("pit")
    right.set_title("one step ahead", loc="left", fontsize=9)
    save_figure(figure, path)
