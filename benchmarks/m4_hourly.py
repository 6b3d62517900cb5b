"""M4 Hourly: 414 series, 48 hours ahead, by segment forecasters of several seeds and their mean.

The last hours of the training file are forecast, which no network sees; with --test, the official test, for which the
networks are trained on the whole training file. The settings were chosen with --windows 7.

    python -m benchmarks m4_hourly --train Hourly-train.csv
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.direct_forecasts import Series, Steps, cells, fitted, forecasts
from benchmarks.table import print_table
from training.evaluation.baselines import naive_2, seasonal_naive
from training.evaluation.metrics import (
    MEASURED_LEVELS,
    Forecasts,
    forecast_metrics,
    owa,
    seasonal_error,
)
from training.networks.segment_ensemble import SegmentEnsemble
from training.networks.segment_forecaster import SegmentSettings
from training.segment_fit_settings import SegmentFitSettings
from training.segment_windows import Augmentation, SegmentWindows

HORIZON, SEASON = 48, 24
SETTINGS = SegmentSettings(
    context_length=504,
    prediction_length=HORIZON,
    segment_length=24,
    hidden_size=128,
    dropout=0.1,
    quantiles=MEASURED_LEVELS,
    season=SEASON,
    centring="last",
)
SIZE_SHARE = 16.0
"""Weight of errors in units of a series' usual size, as sMAPE and wQL take them, beside units of its usual error."""
AUGMENTATION = Augmentation(mixed=0.4)
KEYS = ("mase", "smape", "owa", "mean_weighted_quantile_loss", "msis", "coverage_80")
NAMES = ("MASE", "sMAPE", "OWA", "mean wQL", "MSIS", "80 % coverage")
PUBLISHED = {  # on the official test
    "seasonal naive (GIFT-Eval)": {"mase": 1.193, "smape": 13.91, "mean_weighted_quantile_loss": 0.0376, "msis": 9.23},
    "AutoARIMA (GIFT-Eval)": {"mase": 1.030, "smape": 13.7, "mean_weighted_quantile_loss": 0.0337, "msis": 8.96},
    "xLSTM-Mixer (GIFT-Eval)": {"mase": 3.344, "smape": 25.4, "mean_weighted_quantile_loss": 0.0302, "msis": 25.5},
    "ES-RNN (M4)": {"mase": 0.893, "smape": 9.328, "owa": 0.440, "msis": 7.928},
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks m4_hourly", description=__doc__.split("\n")[0])
    parser.add_argument("--train", type=Path, required=True, help="the competition's Hourly-train.csv")
    parser.add_argument("--test", type=Path, help="its Hourly-test.csv; the end of the training file otherwise")
    parser.add_argument(
        "--windows", type=int, default=1, help="so many times 48 hours at the end, one after another; not with --test"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2000, help="updates of each network")
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args(arguments)
    if chosen.test and chosen.windows > 1:
        parser.error("--windows: the official test is one window of 48 hours")
    target = aligned(rows(chosen.train), rows(chosen.test) if chosen.test else None)
    origins = target.shape[1] - HORIZON * np.arange(chosen.windows, 0, -1)
    windows = SegmentWindows(target, begins(target), int(origins[0]), SETTINGS, size_share=SIZE_SHARE)
    networks, alone = [], []
    for seed in range(chosen.seeds):
        fit = SegmentFitSettings(steps=chosen.steps, augmentation=AUGMENTATION, threads=chosen.threads, seed=seed)
        networks.append(fitted(SETTINGS, windows, fit))
        alone.append(forecasts(networks[-1], target, origins))
    together = forecasts(SegmentEnsemble(networks), target, origins)
    show(target, origins, alone, together, official=chosen.test is not None)


def show(target: Series, origins: Steps, alone: list[Forecasts], together: Forecasts, official: bool) -> None:
    """Print the table of what was forecast."""
    scales = seasonal_error(target[:, : int(origins[0])], SEASON)
    by_naive_2 = forecast_metrics(naive_2(target, origins, HORIZON, SEASON), scales)

    def measured(found: Forecasts) -> dict[str, float]:
        metrics = forecast_metrics(found, scales)
        return metrics | {"owa": owa(metrics, by_naive_2)}

    seeds = [measured(found) for found in alone]
    table = [["seasonal naive", *cells([measured(seasonal_naive(target, origins, HORIZON, SEASON))], KEYS)]]
    table += [[name, *cells([metrics], KEYS)] for name, metrics in PUBLISHED.items() if official]
    table += [[f"segment forecaster, seed {seed}", *cells([found], KEYS)] for seed, found in enumerate(seeds)]
    if len(seeds) > 1:
        table.append(["mean ± deviation of the seeds", *cells(seeds, KEYS)])
        table.append(["the seeds as one model", *cells([measured(together)], KEYS)])
    what = "the official test" if official else f"the last {HORIZON * len(origins)} hours of the training file"
    print_table(f"M4 Hourly, {len(target)} series, {what}", ["", *NAMES], table)


def rows(path: Path) -> dict[str, list[float]]:
    """The series of one of the competition's files by their names, in its order."""
    with path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))[1:]
    return {name: [float(value) for value in values if value] for name, *values in lines}


def aligned(train: dict[str, list[float]], test: dict[str, list[float]] | None) -> Series:
    """Series (N, T) moved so that all end together, those of the test with them."""
    whole = [values + (test[name] if test else []) for name, values in train.items()]
    length = max(map(len, whole))
    target = np.full((len(whole), length), np.nan, np.float32)
    for row, values in zip(target, whole, strict=True):
        row[length - len(values) :] = values
    return target


def begins(target: Series) -> Steps:
    """(N,) first observed step of each series."""
    return np.asarray((~np.isnan(target)).argmax(axis=1), np.int64)


if __name__ == "__main__":
    main()
