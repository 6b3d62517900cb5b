"""What all figures share: colours, quiet axes, and small PNG files that are the same for the same numbers."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

BLUE, ORANGE, GREEN, RED, GREY, DARK = "#2a6fb0", "#d9792b", "#3c8d5a", "#b5403c", "#8a8f98", "#22262b"
DOTS_PER_INCH = 90
COLOURS = 64


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty figure of one plot, in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    style(axes)
    return figure, axes


def style(axes: Axes) -> None:
    """Leave away what is not data, and write small."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.tick_params(labelsize=8)
    axes.xaxis.label.set_fontsize(9)
    axes.yaxis.label.set_fontsize(9)


def save_figure(figure: Figure, path: Path, colours: int = COLOURS) -> None:
    """Draw without a display, into a file a third as large as usual: a palette, and no metadata."""
    FigureCanvasAgg(figure)
    drawn = BytesIO()
    figure.savefig(drawn, dpi=DOTS_PER_INCH, format="png")
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.open(drawn).convert("RGB").quantize(colours).save(path, optimize=True)
