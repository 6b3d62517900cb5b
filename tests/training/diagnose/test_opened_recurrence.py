"""A recurrence laid open computes what the closed one does, and shows what happened on the way."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from tests.training.tiny import NETWORK, tiny_network  # noqa: E402
from training.diagnose.opened_recurrence import OpenedRecurrence, opened  # noqa: E402
from training.networks.recurrence import Cell, Recurrence  # noqa: E402

CELLS: tuple[Cell, ...] = ("RNN", "LSTM", "GRU")


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_outputs_and_state_are_those_of_the_closed_recurrence(cell: Cell, residual: bool) -> None:
    torch.manual_seed(1)
    closed = Recurrence(cell, 3, 4, layers=2, residual=residual).double()
    inputs = torch.randn(2, 5, 3, dtype=torch.float64)
    state = tuple(torch.randn_like(part) for part in closed.initial_state(2))
    outputs, after = closed(inputs, state)
    found, found_after = OpenedRecurrence(closed)(inputs, state)
    torch.testing.assert_close(found, outputs, rtol=0, atol=1e-13)
    for one, other in zip(found_after, after, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("cell", "gates"),
    [
        ("RNN", {"hidden"}),
        ("LSTM", {"input", "forget", "output", "candidate"}),
        ("GRU", {"reset", "update", "candidate"}),
    ],
)
def test_every_layer_shows_its_states_and_gates_at_every_step(cell: Cell, gates: set[str]) -> None:
    recurrence = OpenedRecurrence(Recurrence(cell, 3, 4, layers=2))
    recurrence(torch.randn(2, 5, 3), recurrence.initial_state(2))
    assert len(recurrence.layers) == 2
    for layer in recurrence.layers:
        assert layer.gates.keys() == gates and all(len(steps) == 5 for steps in layer.gates.values())
        assert len(layer.hidden) == 5 and len(layer.cell) == (5 if cell == "LSTM" else 0)
        assert layer.hidden[0].shape == (2, 4)


def test_opening_leaves_the_network_itself_as_it_was() -> None:
    network = tiny_network()
    twin, recurrence = opened(network)
    assert isinstance(network.recurrence, Recurrence) and network.training and not twin.training
    assert NETWORK.dropout > 0 and recurrence.closed.rnn.weight_hh_l0.dtype == torch.float64
    assert next(network.parameters()).dtype == torch.float32
