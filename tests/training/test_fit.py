"""A fit learns, stops when it should, keeps the best weights, and continues where it was stopped."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from tests.training.tiny import CYCLE, fit_tiny, tiny_network, tiny_streams  # noqa: E402
from training.errors import TrainingError  # noqa: E402
from training.evaluation.text_metrics import nats_per_token, next_token_loss  # noqa: E402
from training.fit import FitSettings, fit  # noqa: E402
from training.fit_settings import Optimizer  # noqa: E402
from training.progress import load_history  # noqa: E402

SETTINGS = FitSettings(epochs=4, bptt_length=12, batch_size=4, learning_rate=0.02, warmup_steps=4, threads=1)


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "rmsprop", "sgd"])
def test_every_optimiser_learns_a_cycle(tmp_path: Path, optimizer: Optimizer) -> None:
    rate = {"sgd": 0.5, "rmsprop": 0.003}.get(optimizer, 0.02)
    settings = dataclasses.replace(SETTINGS, optimizer=optimizer, learning_rate=rate, epochs=8)
    network = tiny_network()
    before = nats_per_token(network, CYCLE, 0)
    result = fit_tiny(network, settings, tmp_path)
    assert before > 1.9 and nats_per_token(network, CYCLE, 0) < 0.5
    assert all(record.grad_norm > 0 for record in result.history)


@pytest.mark.parametrize("stride", [0, 4])
@pytest.mark.parametrize("length", [12, 0])
def test_full_and_truncated_windows_of_any_stride_learn(tmp_path: Path, length: int, stride: int) -> None:
    settings = dataclasses.replace(SETTINGS, bptt_length=length, bptt_stride=stride, batch_size=8, epochs=12)
    if not length:
        settings = dataclasses.replace(settings, epochs=40, bptt_stride=0)
    assert fit_tiny(tiny_network(), settings, tmp_path).best_validation < 1.0


def test_bfloat16_learns_on_the_cpu(tmp_path: Path) -> None:
    assert fit_tiny(tiny_network(), dataclasses.replace(SETTINGS, precision="bfloat16"), tmp_path).best_validation < 1.2


def test_history_is_on_disk_and_tensorboard_has_events(tmp_path: Path) -> None:
    result = fit_tiny(tiny_network(), SETTINGS, tmp_path)
    assert load_history(tmp_path) == result.history and len(result.history) == 4
    assert list((tmp_path / "tensorboard").glob("events.*"))


def test_the_network_is_left_with_the_weights_that_validated_best(tmp_path: Path) -> None:
    network, losses, seen = tiny_network(), iter([3.0, 1.0, 2.0, 5.0]), []

    def validate() -> float:
        seen.append(network.output.bias.detach().clone())
        return next(losses)

    result = fit(network, next_token_loss, tiny_streams(SETTINGS), validate, SETTINGS, tmp_path)
    assert (result.best_epoch, result.best_validation) == (1, 1.0)
    assert torch.equal(network.output.bias, seen[1]) and not torch.equal(seen[1], seen[3])


def test_patience_ends_a_fit_that_no_longer_improves(tmp_path: Path) -> None:
    settings = dataclasses.replace(SETTINGS, epochs=50, patience=2)
    result = fit(tiny_network(), next_token_loss, tiny_streams(settings), lambda: 1.0, settings, tmp_path)
    assert [record.epoch for record in result.history] == [0, 1, 2]


def test_time_ends_a_fit_within_an_epoch_and_it_is_still_validated(tmp_path: Path) -> None:
    settings = dataclasses.replace(SETTINGS, max_seconds=1e-6)
    result = fit_tiny(tiny_network(), settings, tmp_path)
    assert [record.step for record in result.history] == [1] and math.isfinite(result.best_validation)


def test_a_gradient_longer_than_the_clip_is_shortened_and_logged_as_it_came(tmp_path: Path) -> None:
    settings = dataclasses.replace(
        SETTINGS, epochs=1, optimizer="sgd", momentum=0.0, weight_decay=0.0, schedule="constant", learning_rate=1.0
    )
    moved = {}
    for clip in (0.0, 1e-3):
        network = tiny_network()
        start = torch.nn.utils.parameters_to_vector(network.parameters()).clone()
        result = fit_tiny(network, dataclasses.replace(settings, clip_norm=clip), tmp_path / str(clip))
        moved[clip] = torch.nn.utils.parameters_to_vector(network.parameters()).sub(start).norm().item()
        assert result.history[0].grad_norm > 0.01
    assert moved[1e-3] <= 1e-3 * tiny_streams(settings).windows_per_epoch + 1e-6 < moved[0.0]


def test_a_loss_that_is_not_finite_ends_the_fit_with_advice(tmp_path: Path) -> None:
    settings = dataclasses.replace(SETTINGS, optimizer="sgd", learning_rate=1e30, clip_norm=0.0)
    with pytest.raises(TrainingError, match="expected a finite loss and gradient"):
        fit_tiny(tiny_network(), settings, tmp_path)


def test_a_fit_interrupted_by_a_signal_continues_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = tiny_network()
    undisturbed = fit_tiny(whole, SETTINGS, tmp_path / "whole")

    stopped, streams = tiny_network(), tiny_streams(SETTINGS)
    inner, calls = streams.window, []

    def interrupting(epoch: int, index: int) -> object:
        calls.append(index)
        if len(calls) == 15:
            os.kill(os.getpid(), signal.SIGINT)
        return inner(epoch, index)

    streams.window = interrupting  # type: ignore[assignment,method-assign]
    run = tmp_path / "run"
    result = fit(stopped, next_token_loss, streams, lambda: 1.0, SETTINGS, run)
    assert result.interrupted and len(calls) == 15
    assert json.loads((run / "history.jsonl").read_text().splitlines()[0])["validation_loss"] == 1.0

    continued = tiny_network(seed=9)
    finished = fit_tiny(continued, SETTINGS, run, resume=True)
    assert [r.train_loss for r in finished.history] == [r.train_loss for r in undisturbed.history]
    assert finished.history[-1].validation_loss == undisturbed.history[-1].validation_loss


def test_a_run_killed_before_its_first_checkpoint_begins_again(tmp_path: Path) -> None:
    whole = fit_tiny(tiny_network(), SETTINGS, tmp_path / "whole")
    (tmp_path / "killed").mkdir()
    begun = fit_tiny(tiny_network(), SETTINGS, tmp_path / "killed", resume=True)
    assert [r.train_loss for r in begun.history] == [r.train_loss for r in whole.history]
