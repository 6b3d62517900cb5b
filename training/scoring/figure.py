"""A scored stream as one figure: the values within what was expected of them, and below how rare each was."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain, count
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from numpy.typing import NDArray

from training.drawing import BLUE, DARK, GREY, RED, save_figure, style
from training.scoring.scored import Scored

_MANY = 1500
"""Values that a line of usual width would cover each other with."""
_RAREST = 1e7
"""Where the lower axis ends: float32 tells no score apart that is nearer to 1."""


def plot_scored(path: Path, scored: Scored, threshold: float | None, unit: str | None) -> None:
    """Draw one stream into a PNG file."""
    figure = Figure(figsize=(9.0, 4.2), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    for axes in (above, below):
        style(axes)
    _draw_values(above, scored, unit)
    _draw_scores(below, scored, threshold)
    save_figure(figure, path, colours=160)


def _draw_values(axes: Axes, scored: Scored, unit: str | None) -> None:
    stream, flagged = scored.stream, _flagged(scored)
    share = f"{100 * scored.level:.0f} % interval"
    axes.fill_between(stream.times, scored.lower, scored.upper, color=BLUE, alpha=0.2, linewidth=0, label=share)
    axes.plot(stream.times, scored.expected, color=BLUE, linewidth=0.7, label="expected")
    thin = 0.8 if len(stream.values) < _MANY else 0.4
    axes.plot(stream.times, stream.values, color=DARK, linewidth=thin, label="observed")
    if len(flagged):
        axes.plot(stream.times[flagged], stream.values[flagged], "o", color=RED, markersize=4, label="anomaly")
    axes.set_ylim(*_range(scored))
    axes.set_title(stream.id, loc="left", fontsize=9)
    if unit:
        axes.set_ylabel(unit)
    axes.legend(frameon=False, fontsize=8, ncols=4, loc="lower right", bbox_to_anchor=(1, 0.98))


def _draw_scores(axes: Axes, scored: Scored, threshold: float | None) -> None:
    times, flagged = scored.stream.times, _flagged(scored)
    rarity = 1 / np.maximum(1 - scored.score.astype(np.float64), 1 / _RAREST)
    axes.plot(times, rarity, color=GREY, linewidth=0.7)
    axes.plot(times[flagged], rarity[flagged], "o", color=RED, markersize=3)
    if threshold is not None:
        axes.axhline(min(1 / max(1 - threshold, 1 / _RAREST), _RAREST), color=RED, linewidth=0.8, linestyle=":")
    axes.set_yscale("log")
    axes.set_ylim(1, _RAREST)
    axes.set_ylabel("at most one in")
    if times.dtype.kind == "M":
        ticks = AutoDateLocator(minticks=3, maxticks=10)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(ticks)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(ticks, show_offset=False))  # type: ignore[no-untyped-call]


def _flagged(scored: Scored) -> NDArray[np.int64]:
    """Steps that are anomalies."""
    return np.flatnonzero(scored.anomaly) if scored.anomaly is not None else np.empty(0, np.int64)


def _range(scored: Scored) -> tuple[float, float]:
    """What of the values' axis to show: all values, and the interval as far as it stays near them."""
    values = scored.stream.values[np.isfinite(scored.stream.values)].astype(np.float64)
    low, high = float(values.min()), float(values.max())
    margin = 0.08 * (high - low) or 0.08 * abs(high) or 1.0
    return low - margin, high + margin


def file_names(ids: Iterable[str]) -> list[str]:
    """A plain file name for each series, all different."""
    names: list[str] = []
    for one in ids:
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", one).strip("-.")[:80] or "series"
        names.append(next(other for other in chain([name], _numbered(name)) if other not in names))
    return names


def _numbered(name: str) -> Iterator[str]:
    return (f"{name}-{number}" for number in count(1))
