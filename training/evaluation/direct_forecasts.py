"""Direct forecasts of an exported model for many windows at once, without taking in what lies before them.

The row of a segment forecaster begins with its window, so a window makes a row; what a stream remembers beside it is
that of a new one. Shapes: N windows, W context length, P prediction length, Q quantile levels, C calendar columns.
"""

from __future__ import annotations

import numpy as np

from training.export.runner import Array, ExportedForecaster

MOST_ROWS = 4096


def forecast_windows(model: ExportedForecaster, windows: Array, calendar: Array | None = None) -> Array:
    """Quantiles (N, P, Q), in the windows' own units, of the steps after windows (N, W), NaN where missing.

    Args:
        model: of a segment forecaster.
        calendar: (N, P, C) of those steps, where the model takes one.
    """
    found = []
    for begin in range(0, len(windows), MOST_ROWS):
        part = slice(begin, begin + MOST_ROWS)
        rows = model.initial(batch=len(windows[part])).copy()
        rows[:, : windows.shape[1]] = windows[part]
        found.append(model.forecast(rows, None if calendar is None else calendar[part]))
    return np.concatenate(found)
