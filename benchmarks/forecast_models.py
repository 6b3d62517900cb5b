"""Forecasters of the size that peers have, made by our own training command: what they know is of no matter here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks.workplace import ROOT

HIDDEN, LAYERS, HORIZON = 40, 2, 24
SAMPLED, DIRECT = "sampled", "direct"
"""Names of the models: one whose forecasts are sample paths, one that tells all steps at once."""


def hourly_series(path: Path, count: int = 4, length: int = 2000) -> np.ndarray:
    """Write a few series with days and weeks in long format, and return the first one's values."""
    random = np.random.default_rng(0)
    steps = np.arange(length)
    waves = 100 + 20 * np.sin(2 * np.pi * steps / 24) + 5 * np.sin(2 * np.pi * steps / 168)
    values = waves * np.arange(1, count + 1)[:, None] + random.normal(size=(count, length))
    times = np.datetime64("2024-01-01T00") + steps.astype("timedelta64[h]")
    rows = (
        f"series-{row},{time},{value:.3f}\n"
        for row, series in enumerate(values)
        for time, value in zip(times, series, strict=True)
    )
    path.write_text("unique_id,ds,y\n" + "".join(rows), encoding="utf-8")
    return np.asarray(values[0])


def make_forecasters(folder: Path, data: Path) -> Path:
    """A model repository with both, each trained for an epoch."""
    models = folder / "models"
    common = f"--frequency 1h --horizon {HORIZON} --cover 0 --paths 2 --threads 1"
    for name, flags in (
        (SAMPLED, f"--decoder ancestral --hidden-size {HIDDEN} --layers {LAYERS} --epochs 1"),
        (DIRECT, "--decoder direct --direct-steps 5"),
    ):
        command = [sys.executable, "-m", "training", "forecaster", "--data", str(data), "--name", name]
        command += [*common.split(), *flags.split()]
        command += ["--models", str(models), "--run-folder", str(folder / f"run-{name}")]
        subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return models
