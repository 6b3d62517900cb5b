"""What is diagnosed in PyTorch is what the equations say, number for number."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from training import equations, equations_in_torch  # noqa: E402
from training.bptt import Window  # noqa: E402
from training.diagnose.gradient_reach import gradient_reach  # noqa: E402
from training.diagnose.truncation_bias import truncation_bias  # noqa: E402
from training.equations import Array  # noqa: E402
from training.gradient_check import SEQUENCES, STEPS, Problem, Scored, TrainedNetwork, by_equations, draw_problem  # noqa: E402
from training.networks.recurrence import Cell  # noqa: E402


def whole(problem: Problem) -> Window:
    resets = torch.ones(SEQUENCES, dtype=torch.bool)
    return Window(torch.from_numpy(problem.batch.inputs), equations_in_torch.targets(problem.batch), resets)


@pytest.mark.parametrize("cell", get_args(Cell))
def test_the_gradient_that_reaches_back_is_that_of_the_hidden_states(cell: Cell) -> None:
    problem = draw_problem(cell, "regression", "last step", window=STEPS, stride=STEPS)
    network = TrainedNetwork(problem)
    state = network.recurrence.initial_state(SEQUENCES)
    hidden, *_ = gradient_reach(network, equations_in_torch.loss, whole(problem), state).curves
    run = equations.bptt(problem.network, problem.weights, problem.batch, problem.start)
    norms = np.linalg.norm(run.d_hidden, axis=-1).T[::-1] * SEQUENCES  # by lag; each sequence has a loss of its own
    np.testing.assert_allclose(hidden.norms, norms, rtol=1e-10)


@pytest.mark.parametrize("scored", get_args(Scored))
@pytest.mark.parametrize("cell", ["RNN", "LSTM"])
def test_the_bias_of_truncation_is_that_of_the_windows_added_up(cell: Cell, scored: Scored) -> None:
    def gradient(window: int) -> Array:
        problem = draw_problem(cell, "regression", scored, window, window)
        share = window / STEPS if scored == "every step" else 1
        parts = [equations_in_torch.pack(cell, w) for w in by_equations(problem)]
        w_ih, w_hh, bias, *_ = (np.sum(part, axis=0) * share for part in zip(*parts, strict=True))
        return np.concatenate([part.ravel() for part in (w_ih, w_hh, bias, bias)])  # PyTorch has every bias twice

    problem = draw_problem(cell, "regression", scored, window=STEPS, stride=STEPS)
    network = TrainedNetwork(problem)
    state = network.recurrence.initial_state(SEQUENCES)
    found = truncation_bias(network, equations_in_torch.loss, whole(problem), state, lengths=(1, 2, 3))
    full = gradient(STEPS)
    for at in found.by_window:
        truncated = gradient(at.window)
        ratio = np.linalg.norm(truncated) / np.linalg.norm(full)
        assert at.norm_ratio == pytest.approx(ratio, rel=1e-10)
        assert at.cosine == pytest.approx(
            truncated @ full / np.linalg.norm(truncated) / np.linalg.norm(full), rel=1e-10
        )
