"""A task within reach of the gradient is learned; one that a truncated window cuts off is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from training.tasks.long_memory import SOLVED, DelayedRecall  # noqa: E402
from training.tasks.sequence_learner import Lesson, SequenceLearner, attempt  # noqa: E402

LESSON = Lesson("LSTM", lag=6, updates=400, learning_rate=0.02, hidden_size=12, batch_size=16)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_a_lag_within_reach_is_learned_and_learning_stops_there() -> None:
    told: list[float] = []
    found = attempt(DelayedRecall(), LESSON, told.append)
    assert found.solved and found.error < SOLVED and found.updates < LESSON.updates
    assert told[-1] == found.updates / LESSON.updates
    assert attempt(DelayedRecall(), LESSON) == found


def test_a_window_as_long_as_the_sequence_is_full_back_propagation() -> None:
    assert attempt(DelayedRecall(), replace(LESSON, window=8)) == attempt(DelayedRecall(), LESSON)


def test_a_lag_that_the_window_cuts_off_is_not_learned() -> None:
    # A small vanilla RNN whose untrained state keeps nothing that could be read out after 20 steps of distraction.
    lesson = replace(LESSON, cell="RNN", lag=20, window=4, hidden_size=6, updates=150, start="uniform")
    found = attempt(DelayedRecall(), lesson)
    assert not found.solved and found.updates == 150 and found.error > 0.7


def test_a_chrono_start_opens_forget_gates_for_the_lag() -> None:
    network = SequenceLearner("LSTM", 3, 400, 1)
    network.begin("chrono", lag=50)
    bias = network.recurrence.rnn.bias_ih_l0
    assert isinstance(bias, torch.Tensor)
    assert torch.equal(bias[:400], -bias[400:800]) and (bias[800:] == 0).all()
    remembered = torch.exp(bias[400:800].detach())
    assert 1 <= remembered.min() < 5 and 45 < remembered.max() <= 49
