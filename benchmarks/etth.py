"""The files ETTh1.csv and ETTh2.csv: hours in rows, seven channels in columns after the date."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from benchmarks.direct_forecasts import Series


def channels(path: Path) -> Series:
    """The channels (7, T) in the order of their columns."""
    with path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))[1:]
    return np.array([[float(value) for value in values] for _, *values in lines], np.float32).T
