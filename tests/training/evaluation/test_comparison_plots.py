"""Plots of a comparison are small PNG files, whatever the number of models and steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from PIL import Image

from training.evaluation.comparison_plots import plot_coverage_by_horizon, plot_error_by_horizon


@pytest.mark.parametrize(("models", "steps"), [(1, 1), (3, 24), (9, 5)])
def test_every_model_has_a_line(tmp_path: Path, models: int, steps: int) -> None:
    random = np.random.default_rng(0)
    lines = {f"model {n}": random.uniform(size=steps) for n in range(models)}
    levels = {name: {0.1: 0.2, 0.5: 0.5, 0.9: 0.8} for name in lines}
    plot_error_by_horizon(tmp_path / "error.png", lines, lines)
    plot_coverage_by_horizon(tmp_path / "coverage.png", lines, levels)
    for file in ("error.png", "coverage.png"):
        with Image.open(tmp_path / file) as image:
            assert image.format == "PNG" and min(image.size) > 200
        assert (tmp_path / file).stat().st_size < 60_000


def test_steps_at_which_nothing_was_observed_are_left_out(tmp_path: Path) -> None:
    plot_error_by_horizon(tmp_path / "error.png", {"one": [0.5, np.nan, 1]}, {"one": [np.nan] * 3})
    assert (tmp_path / "error.png").exists()
