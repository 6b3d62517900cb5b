"""Logits for every token, with and without tied weights."""

from __future__ import annotations

from typing import get_args

import pytest

torch = pytest.importorskip("torch")

from training.networks.recurrence import Cell  # noqa: E402
from training.networks.text_generator import TextGenerator, TextGeneratorSettings  # noqa: E402


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("cell", get_args(Cell))
def test_tokens_in_pieces_give_the_logits_of_the_whole(cell: Cell, tied: bool) -> None:
    settings = TextGeneratorSettings(cell=cell, hidden_size=6, embedding_size=4, layers=2, tied=tied)
    network = TextGenerator(9, settings).eval()
    tokens = torch.randint(0, 9, (3, 8))
    whole, last = network(tokens, network.recurrence.initial_state(3))
    first, state = network(tokens[:, :3], network.recurrence.initial_state(3))
    rest, after = network(tokens[:, 3:], state)
    assert whole.shape == (3, 8, 9)
    torch.testing.assert_close(torch.cat([first, rest], dim=1), whole)
    torch.testing.assert_close(after, last)


def test_tied_weights_are_one_matrix_with_a_projection_where_sizes_differ() -> None:
    tied = TextGenerator(9, TextGeneratorSettings(hidden_size=6, embedding_size=4, tied=True))
    same = TextGenerator(9, TextGeneratorSettings(hidden_size=4, embedding_size=4, tied=True))
    assert tied.output.weight is tied.embedding.weight
    assert tied.projection is not None and tied.projection.weight.shape == (4, 6)
    assert same.projection is None


def test_a_fresh_network_is_about_as_unsure_as_chance() -> None:
    torch.manual_seed(0)
    for tied in (False, True):
        network = TextGenerator(50, TextGeneratorSettings(hidden_size=32, embedding_size=16, tied=tied)).eval()
        logits, _ = network(torch.randint(0, 50, (4, 20)), network.recurrence.initial_state(4))
        entropy = -(logits.softmax(-1) * logits.log_softmax(-1)).sum(-1).mean()
        assert entropy > 0.95 * torch.log(torch.tensor(50.0))
