"""Segment forecasters fitted for a benchmark, and measured through the graphs that would be published.

Shapes: N series, T steps, W context length, O origins, P prediction length.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.over_seeds import mean_and_spread
from training.data.alignment import AlignedSeries
from training.evaluation.backtest import backtest
from training.evaluation.baselines import actual_values
from training.evaluation.metrics import MEASURED_LEVELS, Forecasts
from training.export import ExportedForecaster
from training.export.parity_segments import segment_parity
from training.export.segment_forecaster import export_segment_forecaster
from training.networks.segment_ensemble import AnySegmentForecaster, segment_members_of
from training.networks.segment_forecaster import SegmentForecaster, SegmentSettings
from training.segment_fit import fit_segments
from training.segment_fit_settings import SegmentFitSettings
from training.segment_windows import SegmentWindows

Series = NDArray[np.float32]
Steps = NDArray[np.int64]

AT_ONCE = 32
"""Series that are forecast together: each observed step is a window of its own, and all of them need room."""


def fitted(
    settings: SegmentSettings,
    windows: SegmentWindows,
    fit: SegmentFitSettings,
    validate: Callable[[SegmentForecaster], float] | None = None,
) -> SegmentForecaster:
    """A network trained from the weights that the fit's seed draws."""
    torch.manual_seed(fit.seed)
    network = SegmentForecaster(settings)
    with tempfile.TemporaryDirectory() as run:
        fit_segments(network, windows, fit, Path(run), validate)
    return network


def forecasts(network: AnySegmentForecaster, target: Series, origins: Steps) -> Forecasts:
    """What the exported network foretells at each origin of series (N, T), having observed one window before the first.

    Raises:
        ParityError: the graphs do not compute what the network does.
    """
    settings = segment_members_of(network)[0].settings
    horizon, first = settings.prediction_length, max(int(origins[0]) - settings.context_length, 0)
    parts = []
    with tempfile.TemporaryDirectory() as folder:
        segment_parity(network, export_segment_forecaster(network, Path(folder)))
        model = ExportedForecaster(Path(folder))
        for begin in range(0, len(target), AT_ONCE):
            some = target[begin : begin + AT_ONCE]
            series = AlignedSeries(some, np.full(len(some), first))
            parts.append(backtest(model, series, origins, horizon, paths=0, levels=MEASURED_LEVELS).forecasts)
    quantiles = np.concatenate([part.quantiles for part in parts])
    return Forecasts(actual_values(target, origins, horizon), quantiles, MEASURED_LEVELS)


def cells(found: Sequence[Mapping[str, float]], keys: Sequence[str]) -> list[str]:
    """Cells of one forecaster's metrics: those of its only run, or mean and deviation over its seeds."""
    told = mean_and_spread(found)
    return [told.get(key, "–") for key in keys]
