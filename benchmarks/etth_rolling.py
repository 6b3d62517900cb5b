"""ETTh: seven channels, 168 hours ahead from 20 rolling origins, as fev-bench's `ETT_1H` defines it; one fit per file.

Each channel is a series of its own; the scale of an error is that of all that came before its origin. fev-bench's
figures are means over ETTh1 and ETTh2, and its trained models are fitted anew for every origin.

    python -m benchmarks etth_rolling ETTh1.csv ETTh2.csv
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import numpy as np

from benchmarks.direct_forecasts import Series, cells, fitted, forecasts
from benchmarks.etth import channels
from benchmarks.table import print_table
from training.evaluation.baselines import seasonal_naive
from training.evaluation.metrics import MEASURED_LEVELS, Forecasts, forecast_metrics, seasonal_errors_at
from training.networks.segment_ensemble import SegmentEnsemble
from training.networks.segment_forecaster import SegmentSettings
from training.segment_fit_settings import SegmentFitSettings
from training.segment_windows import Augmentation, SegmentWindows

HORIZON, SEASON, ORIGINS = 168, 24, 20
SETTINGS = SegmentSettings(
    context_length=336,
    prediction_length=HORIZON,
    segment_length=24,
    hidden_size=128,
    dropout=0.3,
    quantiles=MEASURED_LEVELS,
    season=SEASON,
    centring="last",
)
KEYS = ("mase", "scaled_quantile_loss", "coverage_80")
NAMES = ("MASE", "SQL", "80 % coverage")
PUBLISHED = {  # means over both files
    "seasonal naive (fev-bench)": {"mase": 1.3227, "scaled_quantile_loss": 1.2068},
    "AutoARIMA (fev-bench)": {"mase": 1.2616, "scaled_quantile_loss": 1.0524},
    "DeepAR (fev-bench)": {"mase": 1.2305, "scaled_quantile_loss": 0.9923},
    "TFT (fev-bench)": {"mase": 1.2013, "scaled_quantile_loss": 0.9510},
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks etth_rolling", description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, nargs="+", help="ETTh1.csv, ETTh2.csv or both")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=500, help="updates of each network")
    parser.add_argument(
        "--validation", action="store_true", help="forecast the 20 origins before the test's, and train before them"
    )
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args(arguments)
    found = []
    for path in chosen.data:
        target = channels(path)
        if chosen.validation:
            target = target[:, : -HORIZON * ORIGINS]
        found.append(rows_of(target, chosen.seeds, chosen.steps, chosen.threads))
        show(path.name, found[-1])
    if len(found) > 1:
        show("mean of the files", {name: averaged([rows[name] for rows in found]) for name in found[0]}, published=True)


Rows = dict[str, list[dict[str, float]]]
"""Metrics of each forecaster: one seed's, or several."""


def rows_of(target: Series, seeds: int, steps: int, threads: int) -> Rows:
    """Metrics of the baseline, of each seed, and of the seeds as one model, on the end of the series."""
    origins = target.shape[1] - HORIZON * (ORIGINS - np.arange(ORIGINS))
    first, scales = int(origins[0]), seasonal_errors_at(target, origins, SEASON)
    windows = SegmentWindows(target, np.zeros(len(target), np.int64), first, SETTINGS)

    def measured(found: Forecasts) -> dict[str, float]:
        return forecast_metrics(found, scales)

    networks = []
    for seed in range(seeds):
        fit = SegmentFitSettings(
            steps=steps, batch_size=128, learning_rate=1e-3, augmentation=Augmentation(), threads=threads, seed=seed
        )
        networks.append(fitted(SETTINGS, windows, fit))
    return {
        "seasonal naive": [measured(seasonal_naive(target, origins, HORIZON, SEASON))],
        "segment forecaster": [measured(forecasts(network, target, origins)) for network in networks],
        "the seeds as one model": [measured(forecasts(SegmentEnsemble(networks), target, origins))],
    }


def averaged(files: list[list[dict[str, float]]]) -> list[dict[str, float]]:
    """The mean over files, seed by seed."""
    return [{key: mean(metrics[key] for metrics in seed) for key in KEYS} for seed in zip(*files, strict=True)]


def show(title: str, rows: Rows, *, published: bool = False) -> None:
    """Print one table, each error also as a share of the seasonal naive's."""
    naive = rows["seasonal naive"][0]
    table = [[name, *cells([metrics], KEYS), "", ""] for name, metrics in PUBLISHED.items() if published]
    for name, found in rows.items():
        shares = [f"{mean(metrics[key] for metrics in found) / naive[key]:.3f}" for key in KEYS[:2]]
        table.append([name, *cells(found, KEYS), *shares])
    columns = ["", *NAMES, "MASE / seasonal naive's", "SQL / seasonal naive's"]
    print_table(f"{title}: {HORIZON} hours ahead, {ORIGINS} origins", columns, table)


if __name__ == "__main__":
    main()
