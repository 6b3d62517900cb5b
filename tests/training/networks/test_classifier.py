"""A classifier's logits in pieces are those of the whole; its loss looks at scored steps alone."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from tests.training.export.tiny import CELLS, tiny_classifier  # noqa: E402
from training.networks.classifier import classification_loss  # noqa: E402
from training.networks.recurrence import Cell  # noqa: E402


@pytest.mark.parametrize("cell", CELLS)
def test_stepping_gives_what_the_whole_sequence_gives(cell: Cell) -> None:
    network = tiny_classifier(cell, 2).eval()
    tokens = torch.randint(0, 11, (3, 8), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole, last = network(tokens, network.recurrence.initial_state(3))
        state, pieces = network.recurrence.initial_state(3), []
        for step in range(8):
            logits, state = network(tokens[:, step : step + 1], state)
            pieces.append(logits)
    assert whole.shape == (3, 8, 4)
    torch.testing.assert_close(torch.cat(pieces, 1), whole)
    for ours, theirs in zip(state, last, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_steps_without_a_target_cost_nothing() -> None:
    logits = torch.zeros(2, 3, 4, requires_grad=True)
    targets = torch.full((2, 3), torch.nan)
    targets[0, 1], targets[1, 2] = 3.0, 0.0
    loss = classification_loss(logits, targets)
    assert math.isclose(loss.item(), math.log(4), rel_tol=1e-6)
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    moved = logits.grad.abs().sum(-1) > 0
    torch.testing.assert_close(moved, ~torch.isnan(targets))


def test_a_window_in_which_nothing_is_scored_has_a_loss_of_zero_and_no_gradient() -> None:
    logits = torch.ones(2, 3, 4, requires_grad=True)
    loss = classification_loss(logits, torch.full((2, 3), torch.nan))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0 and logits.grad is not None and not logits.grad.any()


def test_the_loss_is_the_mean_over_scored_steps() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(1, 4, 3, generator=generator)
    targets = torch.tensor([[0.0, torch.nan, 2.0, 1.0]])
    expected = -torch.log_softmax(logits[0], -1)[[0, 2, 3], [0, 2, 1]].mean()
    torch.testing.assert_close(classification_loss(logits, targets), expected)
