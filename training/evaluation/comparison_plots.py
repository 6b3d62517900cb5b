"""Plots of several forecasters on the same windows: error and coverage by step ahead, and how quantiles are met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from training.drawing import BLUE, DARK, GREEN, GREY, ORANGE, RED, save_figure, style

COLOURS = (BLUE, ORANGE, GREEN, RED, DARK, GREY)
DASHES = ("-", "--", ":", "-.")
WIDTH, HEIGHT = 8.6, 3.4


def plot_error_by_horizon(path: Path, errors: Mapping[str, ArrayLike], losses: Mapping[str, ArrayLike]) -> None:
    """Error of the median, and quantile loss, (P,) by name, both in units of the seasonal error."""
    figure, (left, right) = _two_plots()
    _draw_by_step(left, errors)
    left.set_ylabel("MASE")
    _draw_by_step(right, losses)
    right.set_ylabel("SQL")
    _legend(figure, left)
    save_figure(figure, path)


def plot_coverage_by_horizon(
    path: Path, covered: Mapping[str, ArrayLike], by_level: Mapping[str, Mapping[float, float]], wanted: float = 0.8
) -> None:
    """Share of values within the 80 % interval (P,) by name, and below each quantile, on the diagonal if calibrated."""
    figure, (left, right) = _two_plots()
    left.axhline(wanted, color=GREY, linewidth=0.8, linestyle=":")
    _draw_by_step(left, covered)
    left.set_ylabel(f"share within the {100 * wanted:.0f} % interval")
    left.set_ylim(0, 1.02)
    right.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
    for (name, shares), look in zip(by_level.items(), _looks(len(by_level)), strict=True):
        right.plot(list(shares), list(shares.values()), label=name, marker="o", markersize=2.5, **look)
    right.set_xlabel("quantile level")
    right.set_ylabel("share of values below it")
    _legend(figure, left)
    save_figure(figure, path)


def _two_plots() -> tuple[Figure, Sequence[Axes]]:
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    plots = [figure.add_subplot(1, 2, place) for place in (1, 2)]
    for axes in plots:
        style(axes)
    return figure, plots


def _draw_by_step(axes: Axes, values: Mapping[str, ArrayLike]) -> None:
    for (name, steps), look in zip(values.items(), _looks(len(values)), strict=True):
        ahead = range(1, len(list(steps)) + 1)  # type: ignore[arg-type]
        axes.plot(ahead, steps, label=name, marker="." if len(ahead) < 2 else "", **look)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("steps ahead")


def _looks(count: int) -> list[dict[str, Any]]:
    """A colour for each of the first, then the same with other dashes; grey is dashed, since it often lies on black."""
    places = [divmod(n, len(COLOURS)) for n in range(count)]
    return [
        {"color": COLOURS[n], "linestyle": DASHES[(again + (COLOURS[n] == GREY)) % len(DASHES)], "linewidth": 1.3}
        for again, n in places
    ]


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, fontsize=8, ncols=min(len(labels), 5), loc="outside lower center")
