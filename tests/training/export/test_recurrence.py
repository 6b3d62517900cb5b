"""The standard operators compute what PyTorch's cells compute: gate order, biases, layers, state."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import onnxruntime  # noqa: E402

from tests.training.export.tiny import CELLS  # noqa: E402
from training.export.builder import GraphBuilder, Weights  # noqa: E402
from training.export.recurrence import (  # noqa: E402
    close_states,
    initial_states,
    open_states,
    recurrent_fields,
    recurrent_layers,
    recurrent_sizes,
)
from training.networks.recurrence import Cell, Recurrence  # noqa: E402


def recurrence_with_biases(cell: Cell, layers: int, *, residual: bool = False) -> Recurrence:
    recurrence = Recurrence(cell, 5, 7, layers, residual=residual, learned_state=True)
    for parameter in recurrence.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return recurrence


def export(recurrence: Recurrence, folder: Path, *, one_step: bool) -> onnxruntime.InferenceSession:
    weights = Weights()
    g = GraphBuilder("recurrence", weights)
    sizes = recurrent_sizes(recurrence)
    states = open_states(g, g.split(g.input("state", ("B", sum(sizes))), sizes))
    inputs = g.node("Transpose", g.input("inputs", ("B", "T", 5)), perm=[1, 0, 2])
    outputs, states = recurrent_layers(g, recurrence, inputs, states, one_step=one_step)
    g.node("Transpose", outputs, perm=[1, 0, 2], output="outputs")
    g.output("outputs", ("B", "T", 7))
    g.node("Concat", *close_states(g, states), axis=1, output="next_state")
    g.output("next_state", ("B", sum(sizes)))
    weights.save(folder)
    g.save(folder, {})
    return onnxruntime.InferenceSession(str(folder / "recurrence.onnx"), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("one_step", [False, True])
@pytest.mark.parametrize(("layers", "residual"), [(1, False), (3, False), (3, True)])
@pytest.mark.parametrize("cell", CELLS)
def test_outputs_and_state_are_those_of_pytorch(
    cell: Cell, layers: int, residual: bool, one_step: bool, tmp_path: Path
) -> None:
    recurrence = recurrence_with_biases(cell, layers, residual=residual)
    inputs = torch.randn(4, 1 if one_step else 9, 5)
    state = tuple(torch.randn(layers, 4, 7) for _ in recurrent_fields(recurrence))
    outputs, after = recurrence(inputs, state)
    rows, rows_after = (torch.cat([s.transpose(0, 1).flatten(1) for s in some], 1) for some in (state, after))
    session = export(recurrence, tmp_path, one_step=one_step)
    found = session.run(["outputs", "next_state"], {"state": rows.numpy(), "inputs": inputs.numpy()})
    np.testing.assert_allclose(found[0], outputs.detach().numpy(), atol=2e-6)
    np.testing.assert_allclose(found[1], rows_after.detach().numpy(), atol=2e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_the_initial_part_of_a_row_is_the_initial_state_in_the_order_of_the_row(cell: Cell) -> None:
    recurrence = recurrence_with_biases(cell, 2)
    state = recurrence.initial_state(1)
    expected = torch.cat([layer[0] for part in state for layer in part]).detach()
    np.testing.assert_array_equal(initial_states(recurrence), expected.numpy())


def test_rows_hold_hidden_states_of_all_layers_and_then_cells() -> None:
    assert recurrent_fields(Recurrence("LSTM", 5, 7, 2)) == [("hidden", (2, 7)), ("cell", (2, 7))]
    assert recurrent_fields(Recurrence("GRU", 5, 7, 2)) == [("hidden", (2, 7))]
