"""A segment forecaster learns, keeps the mean of its weights, and goes on after a stop as if there had been none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from service.contract.quantile_function import mean_of  # noqa: E402
from training.errors import TrainingError  # noqa: E402
from training.fit import FitResult  # noqa: E402
from training.interrupt import StopRequest  # noqa: E402
from training.networks.segment_forecaster import SegmentForecaster, SegmentSettings  # noqa: E402
from training.segment_fit import batch_loss, fit_segments  # noqa: E402
from training.segment_fit_settings import SegmentFitSettings  # noqa: E402
from training.segment_windows import SegmentWindows  # noqa: E402

SETTINGS = SegmentSettings(12, 6, 3, 8, 0.1, (0.1, 0.5, 0.9), 0, "mean")
FIT = SegmentFitSettings(steps=40, batch_size=16, learning_rate=1e-2, warmup_steps=5, validate_every=10, threads=1)


def waves() -> SegmentWindows:
    random = np.random.default_rng(0)
    target = np.sin(np.arange(120) * 2 * np.pi / 9) + 0.05 * random.normal(size=(2, 120))
    return SegmentWindows(target.astype(np.float32), np.array([0, 0]), 120, SETTINGS, season=9)


def fit_waves(
    folder: Path, settings: SegmentFitSettings = FIT, resume: bool = False
) -> tuple[SegmentForecaster, FitResult]:
    torch.manual_seed(0)
    network, windows = SegmentForecaster(SETTINGS), waves()
    held_out = windows.at(np.zeros(20, np.int64), np.arange(90, 110))

    def validate(candidate: SegmentForecaster) -> float:
        return float(batch_loss(candidate, held_out))

    return network, fit_segments(network, windows, settings, folder, validate, resume)


def test_loss_falls_and_the_best_weights_are_kept(tmp_path: Path) -> None:
    network, result = fit_waves(tmp_path)
    losses = [round_.validation_loss for round_ in result.history]
    assert len(losses) == 4 and losses[-1] < losses[0]
    assert result.best_validation == min(losses) and losses[result.best_epoch] == min(losses)
    assert not network.training


@contextmanager
def asked_at_once() -> Iterator[StopRequest]:
    request = StopRequest()
    request.made = True
    yield request


def test_run_that_was_stopped_goes_on_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = fit_waves(tmp_path / "whole")
    with monkeypatch.context() as at_once:
        at_once.setattr("training.segment_fit.stop_on_signal", asked_at_once)
        _, stopped = fit_waves(tmp_path / "again")
    assert stopped.interrupted
    again, result = fit_waves(tmp_path / "again", resume=True)
    assert not result.interrupted
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in whole.state_dict().items())


def test_finished_run_comes_back_at_once(tmp_path: Path) -> None:
    whole, before = fit_waves(tmp_path)
    again, after = fit_waves(tmp_path, resume=True)
    assert before.history == after.history
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in whole.state_dict().items())


def test_fit_ends_when_patience_is_used_up(tmp_path: Path) -> None:
    network = SegmentForecaster(SETTINGS)
    result = fit_segments(network, waves(), replace(FIT, patience=2), tmp_path, lambda candidate: 1.0)
    assert len(result.history) == 3 and result.best_epoch == 0


def test_without_validation_the_last_weights_are_kept(tmp_path: Path) -> None:
    result = fit_segments(SegmentForecaster(SETTINGS), waves(), FIT, tmp_path)
    assert result.best_epoch == len(result.history) - 1


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"batch_size": 0}, {"averaging": 1.0}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(TrainingError, match="expected at least"):
        replace(FIT, **wrong)  # type: ignore[arg-type]


def test_squared_error_is_that_of_the_mean_of_each_distribution() -> None:
    network, batch = SegmentForecaster(SETTINGS).eval(), waves().at(np.array([0, 1]), np.array([60, 70]))
    levels = SETTINGS.quantiles
    with torch.no_grad():
        added = batch_loss(network, batch, squared_share=2.0) - batch_loss(network, batch)
        mean = mean_of(network(batch.window).numpy(), levels)
    error = batch.weight[:, None].numpy() * (mean - batch.target.numpy())
    assert float(added) == pytest.approx(2 * np.mean(error**2), rel=1e-4)
