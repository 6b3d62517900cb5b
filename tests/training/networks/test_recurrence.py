"""One interface over RNN, LSTM and GRU, and weights that start as the literature has it."""

from __future__ import annotations

from typing import get_args

import pytest

torch = pytest.importorskip("torch")

from training.networks.recurrence import Cell, Recurrence  # noqa: E402

CELLS = get_args(Cell)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_a_sequence_in_pieces_gives_what_it_gives_whole(cell: Cell, layers: int, residual: bool) -> None:
    torch.manual_seed(0)
    recurrence = Recurrence(cell, 3, 5, layers, residual=residual)
    inputs = torch.randn(2, 7, 3)
    whole, last = recurrence(inputs, recurrence.initial_state(2))
    first, state = recurrence(inputs[:, :4], recurrence.initial_state(2))
    rest, after = recurrence(inputs[:, 4:], state)
    assert whole.shape == (2, 7, 5)
    assert [part.shape for part in last] == [(layers, 2, 5)] * (2 if cell == "LSTM" else 1)
    torch.testing.assert_close(torch.cat([first, rest], dim=1), whole)
    torch.testing.assert_close(after, last)


@pytest.mark.parametrize("cell", CELLS)
def test_every_recurrent_gate_starts_orthogonal(cell: Cell) -> None:
    recurrence = Recurrence(cell, 3, 6)
    for gate in torch.split(torch.as_tensor(recurrence.rnn.weight_hh_l0), 6):
        torch.testing.assert_close(gate @ gate.T, torch.eye(6))


def test_the_forget_gate_starts_at_bias_one_and_all_other_biases_at_zero() -> None:
    recurrence = Recurrence("LSTM", 3, 4, layers=2)
    for layer in range(2):
        bias = getattr(recurrence.rnn, f"bias_ih_l{layer}") + getattr(recurrence.rnn, f"bias_hh_l{layer}")
        assert bias.view(4, 4).tolist() == [[0] * 4, [1] * 4, [0] * 4, [0] * 4]


def test_recurrent_dropout_acts_in_training_alone_and_leaves_the_weights_as_they_are() -> None:
    recurrence = Recurrence("LSTM", 3, 8, recurrent_dropout=0.5)
    plain = Recurrence("LSTM", 3, 8)
    plain.load_state_dict(recurrence.state_dict())
    inputs, state = torch.randn(2, 5, 3), recurrence.initial_state(2)
    assert not torch.equal(recurrence(inputs, state)[0], plain(inputs, state)[0])
    recurrence(inputs, state)[0].sum().backward()
    assert recurrence.rnn.weight_hh_l0.grad is not None
    recurrence.eval()
    assert torch.equal(recurrence(inputs, state)[0], plain(inputs, state)[0])


@pytest.mark.parametrize("cell", CELLS)
def test_residual_layers_but_the_first_add_their_input_to_their_output(cell: Cell) -> None:
    torch.manual_seed(0)
    recurrence = Recurrence(cell, 3, 5, layers=2, residual=True)
    first = Recurrence(cell, 3, 5)
    first.load_state_dict({name: value for name, value in recurrence.state_dict().items() if name.endswith("l0")})
    plain = Recurrence(cell, 3, 5, layers=2)
    plain.load_state_dict(recurrence.state_dict())
    inputs = torch.randn(2, 7, 3)
    below, _ = first(inputs, first.initial_state(2))
    stacked, expected_after = plain(inputs, plain.initial_state(2))
    outputs, after = recurrence(inputs, recurrence.initial_state(2))
    torch.testing.assert_close(outputs, stacked + below)
    torch.testing.assert_close(after, expected_after)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_every_parameter_learns(cell: Cell, residual: bool) -> None:
    recurrence = Recurrence(cell, 3, 4, 2, 0.1, 0.1, residual=residual, learned_state=True)
    outputs, _ = recurrence(torch.randn(2, 5, 3), recurrence.initial_state(2))
    outputs.square().sum().backward()
    assert all(parameter.grad is not None for parameter in recurrence.parameters())


@pytest.mark.parametrize("cell", CELLS)
def test_a_learned_initial_state_begins_at_zeros_and_is_the_same_for_every_sequence(cell: Cell) -> None:
    recurrence = Recurrence(cell, 3, 4, layers=2, learned_state=True)
    zeros = Recurrence(cell, 3, 4, layers=2).initial_state(3)
    torch.testing.assert_close(recurrence.initial_state(3), zeros)
    for part in recurrence.begin:
        torch.nn.init.normal_(part)
    for part, learned in zip(recurrence.initial_state(3), recurrence.begin, strict=True):
        assert part.shape == (2, 3, 4)
        torch.testing.assert_close(part[:, 2], learned.view(2, 4))


def test_an_unknown_cell_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="expected one of RNN, LSTM, GRU, got 'LSTN'"):
        Recurrence("LSTN", 3, 4)  # type: ignore[arg-type]
