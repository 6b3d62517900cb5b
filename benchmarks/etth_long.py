"""ETTh1, long horizons from a look-back of 96 hours: every window of the usual test months, standardised by training.

Months 1–12 train, 13–16 choose among the mean weights of a run, 17–20 test (Zhou et al., "Informer", 2021). The
squared error is that of the predictive distribution's mean, the absolute error that of its median. The test is run as a
stream: each hour is observed once and every forecast is the exported graph's own.

    python -m benchmarks etth_long ETTh1.csv
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.direct_forecasts import Series, Steps, cells, fitted
from benchmarks.etth import channels
from benchmarks.table import print_table
from service.contract.quantile_function import mean_of
from training.export import ExportedForecaster
from training.export.parity_segments import segment_parity
from training.export.segment_forecaster import export_segment_forecaster
from training.networks.quantile_head import centre_of
from training.networks.segment_ensemble import AnySegmentForecaster, SegmentEnsemble
from training.networks.segment_forecaster import SegmentForecaster, SegmentSettings
from training.segment_fit_settings import SegmentFitSettings
from training.segment_windows import Augmentation, SegmentWindows

CONTEXT, SEASON = 96, 24
TRAINED, VALIDATED, TESTED = 12 * 30 * 24, 16 * 30 * 24, 20 * 30 * 24
LEVELS = (0.025, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.975)
KEYS, NAMES = ("mse", "mae"), ("MSE", "MAE")
PUBLISHED = {  # at this look-back
    "SegRNN": {96: (0.368, 0.395), 192: (0.408, 0.419), 336: (0.444, 0.440), 720: (0.446, 0.457)},
    "iTransformer": {96: (0.386, 0.405), 192: (0.441, 0.436), 336: (0.487, 0.458), 720: (0.503, 0.491)},
    "PatchTST": {96: (0.414, 0.419), 192: (0.460, 0.445), 336: (0.501, 0.466), 720: (0.500, 0.488)},
    "DLinear": {96: (0.386, 0.400), 192: (0.437, 0.432), 336: (0.481, 0.459), 720: (0.519, 0.516)},
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks etth_long", description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="ETTh1.csv")
    parser.add_argument("--horizons", type=int, nargs="+", default=[96, 192, 336, 720])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=600, help="updates of each network")
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args(arguments)
    target = standardised(channels(chosen.data))
    for horizon in chosen.horizons:
        networks = [network_of(target, horizon, seed, chosen.steps, chosen.threads) for seed in range(chosen.seeds)]
        alone = [errors(network, target) for network in networks]
        show(horizon, target, alone, errors(SegmentEnsemble(networks), target))


def standardised(target: Series) -> Series:
    """Channels (7, T) by mean and deviation of the training months, up to the end of the test months."""
    known = target[:, :TRAINED]
    by_training = (target - known.mean(1, keepdims=True)) / known.std(1, keepdims=True)
    return np.asarray(by_training[:, :TESTED], np.float32)


def network_of(target: Series, horizon: int, seed: int, steps: int, threads: int) -> SegmentForecaster:
    """A network for one horizon: of its running mean weights, those with the least squared error on validation."""
    settings = SegmentSettings(
        context_length=CONTEXT,
        prediction_length=horizon,
        segment_length=24,
        hidden_size=128,
        dropout=0.5,
        quantiles=LEVELS,
        season=SEASON,
        centring="last",
    )
    starts = np.zeros(len(target), np.int64)
    windows = SegmentWindows(target, starts, TRAINED, settings)
    held_out = SegmentWindows(target, starts, VALIDATED, settings)
    origins = np.arange(TRAINED, VALIDATED - horizon + 1, 24)

    def validate(network: SegmentForecaster) -> float:
        losses = []
        for channel in range(len(target)):
            batch = held_out.at(np.full(len(origins), channel), origins)
            with torch.no_grad():
                quantiles = network(batch.window).numpy()
            error = (mean_of(quantiles, LEVELS) - batch.target.numpy()) * batch.window.scale.numpy()
            losses.append(float(np.mean(error**2)))
        return float(np.mean(losses))

    fit = SegmentFitSettings(
        steps=steps,
        learning_rate=1e-3,
        augmentation=Augmentation(cold_start=0, gaps=0),  # every window of the protocol is whole
        threads=threads,
        seed=seed,
    )
    return fitted(settings, windows, fit, validate)


def errors(network: AnySegmentForecaster, target: Series) -> dict[str, float]:
    """Mean squared and mean absolute error over every window of the test months, hour by hour."""
    with tempfile.TemporaryDirectory() as folder:
        segment_parity(network, export_segment_forecaster(network, Path(folder)))
        model = ExportedForecaster(Path(folder))
        horizon = model.prediction_length or 0
        rows = model.initial(batch=len(target))
        *_, rows = model.observe(rows, target[:, VALIDATED - CONTEXT : VALIDATED])
        found = []
        for origin in range(VALIDATED, TESTED - horizon + 1):
            found.append(_errors_of(model.forecast(rows), target[:, origin : origin + horizon]))
            *_, rows = model.observe(rows, target[:, origin : origin + 1])
    squared, absolute = np.mean(found, axis=0)
    return {"mse": float(squared), "mae": float(absolute)}


def _errors_of(quantiles: Series, actual: Series) -> tuple[float, float]:
    mean = mean_of(quantiles, LEVELS)
    median = quantiles[..., centre_of(LEVELS)]
    return float(np.mean((mean - actual) ** 2)), float(np.mean(np.abs(median - actual)))


def seasonal_naive_errors(target: Series, horizon: int) -> dict[str, float]:
    """Those of the day before, again and again."""
    origins: Steps = np.arange(VALIDATED, TESTED - horizon + 1)
    ahead = np.arange(horizon)
    squared, absolute = [], []
    for channel in target:
        error = channel[origins[:, None] + ahead] - channel[origins[:, None] - SEASON + ahead % SEASON]
        squared.append(np.mean(error**2))
        absolute.append(np.mean(np.abs(error)))
    return {"mse": float(np.mean(squared)), "mae": float(np.mean(absolute))}


def show(horizon: int, target: Series, alone: list[dict[str, float]], together: dict[str, float]) -> None:
    """Print the table of one horizon."""
    table = [["seasonal naive", *cells([seasonal_naive_errors(target, horizon)], KEYS)]]
    for name, by_horizon in PUBLISHED.items():
        if horizon in by_horizon:
            table.append([name, *(f"{value:.3f}" for value in by_horizon[horizon])])
    table += [[f"segment forecaster, seed {seed}", *cells([found], KEYS)] for seed, found in enumerate(alone)]
    if len(alone) > 1:
        table.append(["mean ± deviation of the seeds", *cells(alone, KEYS)])
        table.append(["the seeds as one model", *cells([together], KEYS)])
    print_table(f"ETTh1, {horizon} hours ahead from {CONTEXT}", ["", *NAMES], table)


if __name__ == "__main__":
    main()
