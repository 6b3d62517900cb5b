"""M4 Hourly's files are read as the competition wrote them, and what is to be forecast is never trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import m4_hourly
from benchmarks.m4_hourly import aligned, begins, rows


def write_hours(path: Path, lengths: list[int], level: float = 100.0) -> Path:
    """A file of series with a daily season, as ragged quoted rows."""
    header = ",".join(f'"V{column}"' for column in range(1, max(lengths) + 2))
    lines = []
    for number, length in enumerate(lengths, 1):
        values = level + 10 * np.sin(2 * np.pi * np.arange(length) / 24 + number)
        blank = ",".join([""] * (max(lengths) - length))
        lines.append(f'"H{number}",' + ",".join(f"{value:.2f}" for value in values) + ("," + blank if blank else ""))
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def test_series_of_different_lengths_end_together(tmp_path: Path) -> None:
    target = aligned(rows(write_hours(tmp_path / "train.csv", [700, 960])), None)
    assert target.shape == (2, 960)
    assert begins(target).tolist() == [260, 0]
    assert not np.isnan(target[:, -1]).any()


def test_the_official_test_follows_the_whole_training_file(tmp_path: Path) -> None:
    train = rows(write_hours(tmp_path / "train.csv", [700, 960]))
    test = rows(write_hours(tmp_path / "test.csv", [48, 48], level=500.0))
    target = aligned(train, test)
    assert target.shape == (2, 960 + 48)
    assert np.nanmax(target[:, :960]) < 200
    assert target[:, 960:].min() > 400


def test_the_table_stands_beside_the_seasonal_naive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = write_hours(tmp_path / "train.csv", [600, 640])
    m4_hourly.main(["--train", str(train), "--seeds", "2", "--steps", "2", "--threads", "1", "--windows", "2"])
    said = capsys.readouterr().out
    assert "the last 96 hours of the training file" in said, said
    for name in ("seasonal naive", "segment forecaster, seed 1", "mean ± deviation of the seeds", "the seeds as one"):
        assert name in said
