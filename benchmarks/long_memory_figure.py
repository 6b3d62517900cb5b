"""The figure of long memory: how far each cell got, for each task, full and truncated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from training.drawing import BLUE, GREEN, GREY, ORANGE, RED, save_figure, style

COLOURS = (GREY, ORANGE, GREEN, BLUE, "#12406b")
BAR = 0.62


class Row(Protocol):
    """One attempt."""

    @property
    def task(self) -> str: ...
    @property
    def window(self) -> int: ...
    @property
    def learner(self) -> str: ...
    @property
    def lag(self) -> int: ...
    @property
    def solved(self) -> bool: ...


def draw(path: Path, rows: Sequence[Row], tasks: Sequence[str], learners: Sequence[str]) -> None:
    """A panel for each task and window: a bar to the longest lag that was solved, a cross where learning stopped."""
    windows = sorted({row.window for row in rows})
    lags = sorted({row.lag for row in rows})
    figure = Figure(figsize=(10, 0.7 + 1.75 * len(windows)), layout="constrained")
    axes = figure.subplots(len(windows), len(tasks), sharex=True, sharey=True, squeeze=False)
    for window, line in zip(windows, axes, strict=True):
        for task, panel in zip(tasks, line, strict=True):
            _panel(panel, [row for row in rows if (row.task, row.window) == (task, window)], learners, lags, window)
        line[0].set_ylabel(f"truncated to {window} steps" if window else "full")
    for task, panel in zip(tasks, axes[0], strict=True):
        panel.set_title(task, loc="left", fontsize=10)
    figure.supxlabel(
        "lag in steps; bar: longest lag solved; cross: the lag at which learning stopped; dashed: the window",
        fontsize=9,
    )
    save_figure(figure, path)


def _panel(axes: Axes, rows: Sequence[Row], learners: Sequence[str], lags: Sequence[int], window: int) -> None:
    style(axes)
    least = lags[0] / 1.8
    for place, learner in enumerate(learners):
        mine = [row for row in rows if row.learner == learner]
        solved = max((row.lag for row in mine if row.solved), default=None)
        colour = COLOURS[place % len(COLOURS)]
        if solved:
            axes.barh(place, solved - least, BAR, left=least, color=colour, alpha=0.85)
        for row in mine:
            if not row.solved:
                axes.plot(row.lag, place, "x", color=RED, markersize=7, markeredgewidth=2)
    if window:
        axes.axvline(window, color=GREY, linewidth=1, linestyle="--")
    axes.set_xscale("log")
    axes.set_xlim(least, lags[-1] * 1.3)
    axes.set_xticks(lags, [str(lag) for lag in lags])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_yticks(range(len(learners)), learners)
    axes.set_ylim(len(learners) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
