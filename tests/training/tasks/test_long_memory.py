"""The answers of long-memory tasks follow from their inputs, and chance is what an answer without memory gets."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402

from training.tasks.long_memory import TASKS, Adding, Copy, DelayedRecall, LongMemoryTask, SinePhase  # noqa: E402

LAG, BATCH = 12, 4000


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_sequences_start_anew_and_ask_at_their_end_alone(task: LongMemoryTask) -> None:
    window = task.draw(LAG, 5, np.random.default_rng(0))
    assert window.inputs.shape[0] == 5 and window.inputs.shape[2] == task.inputs and window.resets.all()
    asked = ~torch.isnan(window.targets).flatten(2).any(-1) if window.targets.dim() > 2 else ~window.targets.isnan()
    assert asked[:, -1].all() and not asked[:, : LAG - 1].any()
    again = task.draw(LAG, 5, np.random.default_rng(0))
    assert torch.equal(window.inputs, again.inputs)


def test_adding_asks_for_the_sum_of_the_two_marked_numbers() -> None:
    window = Adding().draw(LAG, 50, np.random.default_rng(0))
    numbers, marks = window.inputs.unbind(-1)
    assert (marks.sum(1) == 2).all() and (marks[:, : LAG // 2].sum(1) == 1).all()
    torch.testing.assert_close(window.targets[:, -1], (numbers * marks).sum(1))


def test_copy_asks_for_its_symbols_in_order_after_the_lag() -> None:
    task = Copy(symbols=4, length=3)
    window = task.draw(LAG, 50, np.random.default_rng(0))
    tokens = window.inputs.argmax(-1)
    assert torch.equal(tokens[:, :3].float(), window.targets[:, -3:])
    assert (tokens[:, 3:-3] == 4).all() and (tokens[:, -3:] == 5).all() and tokens.shape[1] == 2 * 3 + LAG


def test_delayed_recall_asks_for_the_first_symbol_among_others() -> None:
    window = DelayedRecall().draw(LAG, 50, np.random.default_rng(0))
    tokens = window.inputs.argmax(-1)
    assert torch.equal(tokens[:, 0].float(), window.targets[:, -1]) and (tokens[:, 0] < 4).all()
    assert ((tokens[:, 1:-1] >= 4) & (tokens[:, 1:-1] < 8)).all() and (tokens[:, -1] == 8).all()


def test_sine_phase_asks_for_the_phase_of_the_wave_that_was_shown() -> None:
    task = SinePhase()
    window = task.draw(LAG, 50, np.random.default_rng(0))
    sine, cosine = window.targets[:, -1].unbind(-1)
    torch.testing.assert_close(window.inputs[:, 0, 0], sine)
    ahead = 2 * np.pi / task.period
    torch.testing.assert_close(window.inputs[:, 1, 0], sine * np.cos(ahead) + cosine * np.sin(ahead))
    assert (window.inputs[:, task.shown :, 0] == 0).all() and (window.inputs[:, -1, 1] == 1).all()


@pytest.mark.parametrize(
    ("task", "answer"), [(Adding(), 1.0), (SinePhase(), 0.0), (Copy(), 0.0), (DelayedRecall(), 0.0)]
)
def test_an_answer_that_is_always_the_same_is_as_good_as_chance(task: LongMemoryTask, answer: float) -> None:
    window = task.draw(LAG, BATCH, np.random.default_rng(0))
    outputs = torch.full((*window.inputs.shape[:2], task.outputs), answer)
    assert task.error(outputs, window.targets) == pytest.approx(task.chance, rel=0.06)


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_the_right_answer_has_no_error(task: LongMemoryTask) -> None:
    window = task.draw(LAG, 5, np.random.default_rng(0))
    targets = torch.nan_to_num(window.targets)
    right = torch.nn.functional.one_hot(targets.long(), task.outputs).float() if task.outputs == 4 else targets
    assert task.error(right.view(*window.inputs.shape[:2], task.outputs), window.targets) == 0
