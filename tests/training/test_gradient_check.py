"""The equations against finite differences, autograd and the training path, and the training path as a whole fit."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from training import equations, equations_in_torch  # noqa: E402
from training.bptt import Window  # noqa: E402
from training.equations import Batch, Loss, Network  # noqa: E402
from training.fit import FitSettings, fit  # noqa: E402
from training.gradient_check import (  # noqa: E402
    HIDDEN,
    INPUTS,
    OUTPUTS,
    SEQUENCES,
    STEPS,
    Scored,
    Task,
    TrainedNetwork,
    by_autograd,
    by_equations,
    by_finite_differences,
    compare,
    draw_problem,
    largest_difference,
)
from training.networks.recurrence import Cell  # noqa: E402

CELLS = get_args(Cell)
CLOSE = 1e-8


@pytest.mark.parametrize("window, stride", [(STEPS, STEPS), (4, 2)], ids=["full", "truncated"])
@pytest.mark.parametrize("scored", get_args(Scored))
@pytest.mark.parametrize("task", get_args(Task))
@pytest.mark.parametrize("cell", CELLS)
def test_gradients_agree_in_all_three_ways(cell: Cell, task: Task, scored: Scored, window: int, stride: int) -> None:
    found = compare(draw_problem(cell, task, scored, window, stride))
    assert found.finite_differences < CLOSE
    assert found.autograd < CLOSE * 1e-4
    assert found.training_path < CLOSE * 1e-4


@pytest.mark.parametrize("window, stride", [(1, 1), (3, 1), (3, 3), (4, 3), (5, 4), (9, 2)])
def test_they_agree_whatever_the_windows(window: int, stride: int) -> None:
    problem = draw_problem("RNN", "regression", "every step", window, stride)
    found = by_equations(problem)
    assert len(found) == -(-STEPS // stride)
    assert largest_difference(found, by_finite_differences(problem)) < CLOSE
    assert largest_difference(found, by_autograd(problem)) < CLOSE * 1e-4


@pytest.mark.parametrize("cell", CELLS)
def test_the_check_sees_a_recurrent_term_that_is_left_out(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = draw_problem(cell, "regression", "every step", STEPS, STEPS)
    step_back = type(problem.network.cell).step_back

    def forgets_h(self: equations.Cell, *arguments: object) -> tuple[object, object]:
        d_x, (d_h, *rest) = step_back(self, *arguments)  # type: ignore[arg-type]
        return d_x, (np.zeros_like(d_h), *rest)

    expected = by_autograd(problem)
    monkeypatch.setattr(type(problem.network.cell), "step_back", forgets_h)
    assert largest_difference(by_equations(problem), expected) > 1e-3


def test_a_network_above_is_a_loss_for_the_layer_below() -> None:
    """Two LSTM layers as `nn.LSTM` stacks them: the upper one's ∂L/∂x is what the lower one's h receives."""
    random = np.random.default_rng(1)
    cell = equations.CELLS["LSTM"]
    upper = equations.draw_weights(cell, HIDDEN, HIDDEN, OUTPUTS, random)
    lower = equations.draw_weights(cell, INPUTS, HIDDEN, HIDDEN, random) | {"W_hy": np.eye(HIDDEN)}
    inputs = random.standard_normal((SEQUENCES, STEPS, INPUTS))
    targets = random.standard_normal((SEQUENCES, STEPS, OUTPUTS))
    every = np.ones((SEQUENCES, STEPS), bool)
    start = equations.initial_state(cell, upper, SEQUENCES)
    above: list[equations.Unrolled] = []

    def rest(hidden: equations.Array, targets: equations.Targets) -> tuple[equations.Array, equations.Array]:
        above.append(
            equations.bptt(Network(cell, equations.squared_error), upper, Batch(hidden, targets, every), start)
        )
        return np.full(every.shape, above[0].loss), above[0].d_inputs * every.size

    loss: Loss = rest
    below = equations.bptt(Network(cell, loss), lower, Batch(inputs, targets, every), start)

    module = torch.nn.ModuleList([torch.nn.LSTM(INPUTS, HIDDEN, 2, batch_first=True), torch.nn.Linear(HIDDEN, OUTPUTS)])
    module.double()
    packed = equations_in_torch.pack("LSTM", lower)[:4] + equations_in_torch.pack("LSTM", upper)
    with torch.no_grad():
        for parameter, array in zip(module.parameters(), packed, strict=True):
            parameter.copy_(torch.from_numpy(array))
    outputs = module[1](module[0](torch.from_numpy(inputs))[0])
    expected = equations_in_torch.loss(outputs, torch.from_numpy(targets))
    expected.backward()  # type: ignore[no-untyped-call]
    grads = [parameter.grad for parameter in module.parameters()]
    assert above[0].loss == pytest.approx(expected.item(), rel=1e-12)
    found_upper = equations_in_torch.unpack("LSTM", grads[4:])
    found_lower = equations_in_torch.unpack("LSTM", [*grads[:4], torch.zeros(1), torch.zeros(1)])
    assert largest_difference([above[0].gradients], [found_upper]) < CLOSE * 1e-4
    assert all(np.abs(below.gradients[name] - found_lower[name]).max() < CLOSE * 1e-4 for name in cell.weights)


class Streams:
    """One stream per column, in windows of two steps that carry their state."""

    windows_per_epoch = STEPS // 2

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def window(self, epoch: int, index: int) -> Window:
        piece = self.batch.steps(2 * index, 2 * index + 2)
        resets = torch.full((SEQUENCES,), index == 0)
        return Window(torch.from_numpy(piece.inputs), equations_in_torch.targets(piece), resets)


@pytest.mark.parametrize("cell", CELLS)
def test_a_whole_fit_ends_with_the_weights_of_the_textbook_loop(cell: Cell, tmp_path: Path) -> None:
    problem = draw_problem(cell, "regression", "every step", window=2, stride=2)
    network = TrainedNetwork(problem)
    settings = FitSettings(
        epochs=1, optimizer="sgd", momentum=0, weight_decay=0, schedule="constant", warmup_steps=0, learning_rate=0.5,
        clip_norm=0.3,
    )  # fmt: skip
    fit(network, equations_in_torch.loss, Streams(problem.batch), lambda: 0.0, settings, tmp_path)
    w = {name: weight.copy() for name, weight in problem.weights.items()}
    norms = [norm for _, norm in equations.learn(problem.network, w, [problem.batch], 2, 2, rate=0.5, limit=0.3)]
    assert max(norms) > 0.3  # some updates were clipped
    fitted = equations_in_torch.unpack(cell, network.parameters())
    assert largest_difference([w], [fitted]) < CLOSE * 1e-4
