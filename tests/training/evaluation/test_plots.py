"""Plots are small PNG files, the same for the same numbers, and bear values that are missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from PIL import Image

from training.evaluation.plots import Fan, plot_coverage, plot_fans, plot_loss


def fan(history: list[float], horizon: int = 3) -> Fan:
    actual = [1.0, np.nan, 2.0][:horizon]
    return Fan(
        "a series", history, actual, np.sort(np.random.default_rng(0).normal(size=(horizon, 3))), (0.1, 0.5, 0.9)
    )


def draw(folder: Path, histories: list[list[float]]) -> list[Path]:
    folder.mkdir()
    files = [folder / name for name in ("loss.png", "fans.png", "coverage.png")]
    plot_loss(files[0], [3.0, 0.1], [2.0, 0.2], 1, "nats")
    plot_fans(files[1], [fan(history) for history in histories], "MW")
    plot_coverage(files[2], {0.1: 0.2, 0.5: 0.5, 0.9: 0.8}, [1.0] * 20)
    return files


def test_same_numbers_give_the_same_small_files(tmp_path: Path) -> None:
    once, again = (draw(tmp_path / name, [[1.0, 2.0, np.nan], [3.0]]) for name in ("once", "again"))
    for one, other in zip(once, again, strict=True):
        assert one.read_bytes() == other.read_bytes()
        assert one.stat().st_size < 40_000
        with Image.open(one) as image:
            assert image.format == "PNG" and min(image.size) > 100


def test_first_forecast_may_have_no_history_and_horizons_one_step(tmp_path: Path) -> None:
    plot_fans(tmp_path / "fans.png", [fan([], 1), fan([], 3)], None)
    plot_loss(tmp_path / "loss.png", [1.0], [1.0], 0, "nats")
