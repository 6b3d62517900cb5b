"""Windows come from the training part alone, on their own scale, and are the same whenever they are drawn."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from training.errors import TrainingError  # noqa: E402
from training.networks.segment_forecaster import SegmentSettings  # noqa: E402
from training.segment_windows import Augmentation, Batch, SegmentWindows  # noqa: E402

SETTINGS = SegmentSettings(12, 6, 3, 8, 0.0, (0.1, 0.5, 0.9), 6, "last")
PLAIN = Augmentation(0.0, 0.0, 0.0)
END = 80


def series(scale: float = 1.0) -> np.ndarray:
    values = scale * (10 + np.random.default_rng(0).normal(size=(3, 100)))
    values[1, :40] = np.nan
    return values.astype(np.float32)


def windows(target: np.ndarray, **other: float) -> SegmentWindows:
    return SegmentWindows(target, np.array([0, 40, 0]), END, SETTINGS, **other)  # type: ignore[arg-type]


def same(one: Batch, other: Batch) -> bool:
    pairs = [(one.window.z, other.window.z), (one.target, other.target), (one.weight, other.weight)]
    return all(torch.equal(torch.nan_to_num(a, -7), torch.nan_to_num(b, -7)) for a, b in pairs)


def test_nothing_after_the_end_is_seen() -> None:
    changed = series()
    changed[:, END:] = 1e6
    for step in range(20):
        one, other = (windows(target).draw(16, PLAIN, 0, step) for target in (series(), changed))
        assert same(one, other)


def test_a_draw_depends_on_seed_and_step_alone() -> None:
    drawn = windows(series())
    usual = Augmentation(0.5, 0.5, 0.5)
    again = drawn.draw(16, usual, 3, 7)
    drawn.draw(16, usual, 3, 8)
    assert same(again, drawn.draw(16, usual, 3, 7))
    assert not same(again, drawn.draw(16, usual, 3, 8))


def test_window_and_target_are_neighbours_on_the_windows_scale() -> None:
    target = np.arange(100, dtype=np.float32)[None].repeat(3, 0)
    batch = windows(target).at(np.array([0]), np.array([50]))
    own = batch.window
    np.testing.assert_allclose((own.origin + own.scale * own.z)[0], np.arange(38, 50), rtol=1e-5)
    np.testing.assert_allclose((own.origin + own.scale * batch.target)[0], np.arange(50, 56), rtol=1e-5)


def test_what_follows_the_end_is_not_scored() -> None:
    batch = windows(series()).at(np.array([0]), np.array([END - 2]))
    assert torch.isnan(batch.target[0]).tolist() == [False, False, True, True, True, True]


def test_cold_starts_keep_the_last_value_and_lose_the_first() -> None:
    batch = windows(series()).draw(64, Augmentation(1.0, 0.0, 0.0), 0, 0)
    assert batch.window.observed[:, -1].all()
    assert not batch.window.observed[:, 0].all()


def test_gaps_keep_the_last_value() -> None:
    batch = windows(series()).draw(64, Augmentation(0.0, 1.0, 0.0), 0, 0)
    assert batch.window.observed[:, -1].all()
    assert not batch.window.observed[:, :-1].all(1).any()


def test_weight_is_in_units_of_what_is_usual_in_a_series() -> None:
    one, other = (windows(series(scale)).draw(16, PLAIN, 0, 0) for scale in (1.0, 1000.0))
    torch.testing.assert_close(one.weight, other.weight)
    heavier = windows(series(), size_share=8.0).draw(16, PLAIN, 0, 0)
    assert (heavier.weight > one.weight).all()


def test_series_of_one_value_and_of_one_step() -> None:
    constant = np.full((3, 100), 5, np.float32)
    batch = windows(constant).draw(16, Augmentation(), 0, 0)
    assert torch.isfinite(batch.weight).all() and (torch.nan_to_num(batch.target) == 0).all()
    with pytest.raises(TrainingError, match="series 1: expected at least two steps"):
        SegmentWindows(series(), np.array([0, END - 1, 0]), END, SETTINGS)


def test_means_of_windows_are_on_no_scale_but_their_own() -> None:
    target = series()
    target[2] *= 1e6
    mixed = windows(target).draw(64, Augmentation(0.0, 0.0, 1.0), 0, 0)
    assert mixed.window.z.abs().max() < 20
    assert not same(mixed, windows(target).draw(64, PLAIN, 0, 0))
