"""The backtest of a published model in several processes: the same bits as in one, sooner.

Series are shared out; where they are fewer than the processes, origins are as well, and each part observes what came
before its first origin. Shapes as in `training.evaluation.backtest`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.data.alignment import AlignedSeries, Steps
from training.evaluation.backtest import Backtest, backtest
from training.evaluation.baselines import actual_values
from training.evaluation.metrics import MEASURED_LEVELS, Forecasts
from training.evaluation.parallel import in_processes, stopped_by_signal
from training.export import ExportedForecaster

PARTS_PER_JOB = 3


@dataclass(frozen=True)
class _Part:
    """Some neighbouring series and some neighbouring origins of a backtest."""

    folder: Path
    series: AlignedSeries
    first_number: int
    origins: Steps
    end: int
    """Where the next part's origins begin."""
    horizon: int
    paths: int
    seed: int
    levels: tuple[float, ...]
    sampled: bool


def backtest_published(
    folder: Path,
    series: AlignedSeries,
    origins: Steps,
    horizon: int,
    paths: int,
    seed: int = 0,
    levels: Sequence[float] = MEASURED_LEVELS,
    *,
    sampled: bool = False,
    jobs: int = 1,
    advanced: Callable[[float], None] = lambda share: None,
) -> Backtest:
    """The backtest of the model in `folder`, its work shared out among `jobs` processes.

    Raises:
        Stopped: SIGINT or SIGTERM came.
    """
    if jobs <= 1:
        with stopped_by_signal(advanced, len(origins)) as told:
            model = ExportedForecaster(folder)
            return backtest(model, series, origins, horizon, paths, seed, levels, told, sampled=sampled)
    count = len(series.target)
    shares = [rows for rows in np.array_split(np.arange(count), min(jobs * PARTS_PER_JOB, count)) if len(rows)]
    stretches = np.array_split(origins, min(-(-jobs * PARTS_PER_JOB // len(shares)), len(origins)))
    ends = [int(later[0]) for later in stretches[1:]] + [int(origins[-1]) + horizon]
    parts = [
        _Part(folder, _some(series, rows), int(rows[0]), some, end, horizon, paths, seed, tuple(levels), sampled)
        for rows in shares
        for some, end in zip(stretches, ends, strict=True)
    ]
    return _joined(parts, in_processes(_backtest_of, parts, jobs, advanced), series, origins, horizon)


def _some(series: AlignedSeries, rows: Steps) -> AlignedSeries:
    """A few of the series."""
    columns = (
        None if column is None else column[rows] for column in (series.calendar, series.covariates, series.static)
    )
    return AlignedSeries(series.target[rows], series.begins[rows], *columns)


def _backtest_of(part: _Part) -> Backtest:
    return backtest(
        ExportedForecaster(part.folder),
        part.series,
        part.origins,
        part.horizon,
        part.paths,
        part.seed,
        part.levels,
        sampled=part.sampled,
        first_number=part.first_number,
        end=part.end,
    )


def _joined(
    parts: Sequence[_Part], found: Sequence[Backtest], series: AlignedSeries, origins: Steps, horizon: int
) -> Backtest:
    count, first = len(series.target), int(origins[0])
    levels = parts[0].levels
    quantiles = np.full((count, len(origins), horizon, len(levels)), np.nan)
    pit = np.full((count, int(origins[-1]) + horizon - first), np.nan, np.float32)
    for part, result in zip(parts, found, strict=True):
        rows = slice(part.first_number, part.first_number + len(part.series.target))
        place = int(np.searchsorted(origins, part.origins[0]))
        quantiles[rows, place : place + len(part.origins)] = result.forecasts.quantiles
        begin = int(part.origins[0]) - first
        pit[rows, begin : begin + result.pit.shape[1]] = result.pit  # what parts share, they find alike
    return Backtest(origins, Forecasts(actual_values(series.target, origins, horizon), quantiles, levels), pit)
