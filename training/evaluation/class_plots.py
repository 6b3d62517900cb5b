"""Plots for the card of a classifier: the confusion of its classes, and its accuracy as a sequence arrives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator, PercentFormatter

from training.drawing import BLUE, GREY, new_figure, save_figure

_SHOWN = 0.01
"""Shares from which on a number is written into its square."""


def plot_confusion(path: Path, counts: Sequence[Sequence[int]], labels: Sequence[str]) -> None:
    """For each class that was right (a row) the share of sequences told to be each class (a column)."""
    table = np.asarray(counts, np.float64)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    side = max(3.6, 0.34 * len(labels) + 1.6)
    figure, axes = new_figure(side, side)
    axes.grid(False)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    places = np.arange(len(labels))
    axes.set_xticks(places, labels, rotation=90, fontsize=7)
    axes.set_yticks(
        places, [f"{label} ({int(row.sum())})" for label, row in zip(labels, table, strict=True)], fontsize=7
    )
    axes.set_xlabel("told")
    axes.set_ylabel("right")
    for row, column in np.argwhere(shares >= _SHOWN):
        share = shares[row, column]
        colour = "white" if share > 0.5 else "black"
        axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=6, color=colour)
    save_figure(figure, path)


def plot_arrival(path: Path, accuracy_by_step: Sequence[tuple[int, float, int]]) -> None:
    """Accuracy by how many tokens have been read, over how many sequences have so many."""
    steps, accuracies, counts = (np.asarray(column) for column in zip(*accuracy_by_step, strict=True))
    figure, axes = new_figure(6.4, 3.2)
    axes.bar(steps, counts / counts.max(), color=GREY, alpha=0.25, label="sequences so long")
    axes.plot(steps, accuracies, "o-", color=BLUE, markersize=4, label="accuracy")
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("tokens read")
    axes.legend(frameon=False, fontsize=8)
    save_figure(figure, path)
