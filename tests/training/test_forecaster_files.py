"""A forecaster comes back from its run folder as it was."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from training.errors import TrainingError
from training.forecaster_files import NETWORK_FILE, load_forecaster, save_forecaster
from training.networks.decoders import parts_of
from training.networks.ensemble import Ensemble
from training.networks.forecaster import CovariateScale, Forecaster, ForecasterSettings, StaticEncoding
from training.networks.segment_forecaster import SegmentForecaster, SegmentSettings


def test_settings_and_weights_come_back(tmp_path: Path) -> None:
    settings = ForecasterSettings(
        "LSTM",
        4,
        2,
        0.1,
        (0.1, 0.5, 0.9),
        (1, 24),
        0.9,
        ("hour_of_day",),
        (CovariateScale("price", 30.0, 5.0),),
        (StaticEncoding("kind", categories=("big", "small")), StaticEncoding("size", 2.0, 1.0)),
    )
    network = Forecaster(settings)
    save_forecaster(network, tmp_path)
    again = load_forecaster(tmp_path)
    assert again.settings == settings
    assert not again.training
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in network.state_dict().items())


def test_members_come_back_in_their_order(tmp_path: Path) -> None:
    settings = ForecasterSettings("GRU", 4, 1, 0.0, (0.1, 0.5, 0.9), (1, 2), 0.9)
    network = Ensemble([Forecaster(settings) for _ in range(3)])
    save_forecaster(network, tmp_path)
    again = load_forecaster(tmp_path)
    assert len(parts_of(again)) == 3
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in network.state_dict().items())


def test_run_from_before_there_were_members_is_read(tmp_path: Path) -> None:
    network = Forecaster(ForecasterSettings("GRU", 4, 1, 0.0, (0.1, 0.5, 0.9), (1, 2), 0.9))
    content = {"settings": dataclasses.asdict(network.settings), "weights": network.state_dict()}
    torch.save(content, tmp_path / NETWORK_FILE)
    assert parts_of(load_forecaster(tmp_path))[0].settings == network.settings


def test_direct_network_comes_back(tmp_path: Path) -> None:
    settings = SegmentSettings(12, 6, 3, 8, 0.1, (0.1, 0.5, 0.9), 3, "mean", ("hour_of_day",), conformal=0.02)
    network = SegmentForecaster(settings)
    save_forecaster(network, tmp_path)
    again = load_forecaster(tmp_path)
    assert isinstance(again, SegmentForecaster) and again.settings == settings
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in network.state_dict().items())


def test_unfinished_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"expected forecaster\.pt of a finished run"):
        load_forecaster(tmp_path)
