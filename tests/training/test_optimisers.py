"""The learning rate rises and falls as its schedule says; decay spares the biases."""

from __future__ import annotations

import dataclasses
from typing import get_args

import pytest

torch = pytest.importorskip("torch")

from training.fit import FitSettings  # noqa: E402
from training.fit_settings import Optimizer, Schedule  # noqa: E402
from training.optimisers import build_optimizer, learning_rate, set_learning_rate  # noqa: E402

SETTINGS = FitSettings(learning_rate=1.0, warmup_steps=9, final_rate=0.1, decay_factor=0.5, step_epochs=2)


def rate(schedule: Schedule, *, step: int = 1000, epoch: int = 0, progress: float = 0.0, falls: int = 0) -> float:
    return learning_rate(dataclasses.replace(SETTINGS, schedule=schedule), step, epoch, progress, falls)


@pytest.mark.parametrize("schedule", get_args(Schedule))
def test_every_schedule_warms_up_from_near_zero(schedule: Schedule) -> None:
    assert [rate(schedule, step=step) for step in (0, 4, 9, 50)] == pytest.approx([0.1, 0.5, 1.0, 1.0])


def test_cosine_falls_to_its_share_at_the_end_and_stays_there() -> None:
    assert [rate("cosine", progress=p) for p in (0, 0.5, 1, 1.2)] == pytest.approx([1.0, 0.55, 0.1, 0.1])


def test_step_falls_every_so_many_epochs() -> None:
    assert [rate("step", epoch=epoch) for epoch in range(5)] == [1, 1, 0.5, 0.5, 0.25]


def test_plateau_falls_with_every_plateau_and_constant_never() -> None:
    assert [rate("plateau", falls=falls) for falls in range(3)] == [1, 0.5, 0.25]
    assert rate("constant", epoch=99, progress=1, falls=9) == 1


@pytest.mark.parametrize("optimizer", get_args(Optimizer))
def test_weights_decay_and_biases_do_not(optimizer: Optimizer) -> None:
    network = torch.nn.LSTM(3, 4)
    built = build_optimizer(network, dataclasses.replace(SETTINGS, optimizer=optimizer, weight_decay=0.3))
    decay = {id(p): group["weight_decay"] for group in built.param_groups for p in group["params"]}
    assert {name: decay[id(p)] for name, p in network.named_parameters()} == {
        "weight_ih_l0": 0.3,
        "weight_hh_l0": 0.3,
        "bias_ih_l0": 0.0,
        "bias_hh_l0": 0.0,
    }
    set_learning_rate(built, 0.125)
    assert {group["lr"] for group in built.param_groups} == {0.125}
