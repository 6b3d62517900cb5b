"""Columns of windows walk contiguous stretches, start anew where they must, and depend on nothing but their place."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from training.data.series_streams import SeriesStreams
from training.errors import TrainingError


def streams(
    spans: list[tuple[int, int]], end: int, batch: int, length: int, stride: int = 0, seed: int = 0
) -> SeriesStreams:
    """Series whose feature and target are 1000 · series + step."""
    values = (1000 * np.arange(len(spans))[:, None] + np.arange(end)).astype(np.float32)
    begin = np.array([first for first, _ in spans])
    return SeriesStreams(values[..., None], values.copy(), begin, end, batch, length, stride, seed)


def test_state_goes_on_only_where_the_steps_do() -> None:
    source = streams([(0, 100), (30, 100), (95, 100)], 100, 3, 8)
    for epoch in range(5):
        before = None
        for index in range(source.windows_per_epoch):
            window = source.window(epoch, index)
            starts = window.inputs[:, 0, 0]
            if before is not None:
                goes_on = starts == before + 8
                assert torch.equal(goes_on, ~window.resets)
            else:
                assert window.resets.all()
            before = starts


def test_targets_belong_to_their_inputs_and_nothing_lies_outside() -> None:
    source = streams([(0, 50), (20, 50)], 50, 2, 16)
    for index in range(source.windows_per_epoch):
        window = source.window(0, index)
        inside = ~window.targets.isnan()
        assert torch.equal(window.targets[inside], window.inputs[..., 0][inside])
        assert (window.inputs[..., 0][~inside] == 0).all()
        assert (window.targets[inside] % 1000 < 50).all()


def test_nearly_every_step_is_seen_in_an_epoch() -> None:
    source = streams([(0, 400), (0, 400)], 400, 4, 10)
    seen = torch.cat([source.window(3, index).targets.flatten() for index in range(source.windows_per_epoch)])
    assert len(set(seen[~seen.isnan()].tolist())) > 720


def test_window_depends_on_seed_epoch_and_index_alone() -> None:
    first, second = (streams([(0, 90), (7, 90)], 90, 3, 9, seed=5) for _ in range(2))
    second.window(8, 0)
    for got, expected in zip(first.window(2, 1), second.window(2, 1), strict=True):
        assert torch.equal(got.nan_to_num(-1), expected.nan_to_num(-1))


def test_epochs_and_seeds_differ() -> None:
    source, other = streams([(0, 400)], 400, 4, 10), streams([(0, 400)], 400, 4, 10, seed=1)
    assert not torch.equal(source.window(0, 0).inputs, source.window(1, 0).inputs)
    assert not torch.equal(source.window(0, 0).inputs, other.window(0, 0).inputs)


def test_length_zero_takes_whole_series() -> None:
    source = streams([(0, 40), (10, 40)], 40, 2, 0)
    window = source.window(0, 0)
    assert source.windows_per_epoch == 1
    assert window.inputs.shape == (2, 40, 1)
    assert sorted(window.inputs[:, 0, 0].tolist()) == [0, 1010]


def test_overlapping_windows_begin_a_stride_apart() -> None:
    source = streams([(0, 100)], 100, 1, 20, 5)
    starts = [source.window(0, index) for index in range(source.windows_per_epoch)]
    for before, after in zip(starts, starts[1:], strict=False):
        assert bool(after.resets[0]) or after.inputs[0, 0, 0] == before.inputs[0, 0, 0] + 5


def test_more_columns_than_windows_are_cut_down() -> None:
    assert streams([(0, 30)], 30, 64, 10).window(0, 0).inputs.shape[0] <= 3


def test_series_without_training_steps_are_refused() -> None:
    with pytest.raises(TrainingError, match="series 1: expected steps to train on"):
        streams([(0, 10), (10, 10)], 10, 1, 5)
