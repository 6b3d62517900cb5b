"""Exported classifiers pass for every cell; one that moved on, or another graph, does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tests.training.export.tiny import CELLS, tiny_classifier  # noqa: E402
from training.export import ExportedClassifier  # noqa: E402
from training.export import parity_classifier as parity_module  # noqa: E402
from training.export.classifier import export_classifier  # noqa: E402
from training.export.parity import ParityError  # noqa: E402
from training.export.parity_classifier import classifier_parity  # noqa: E402
from training.networks.recurrence import Cell  # noqa: E402


@pytest.fixture(autouse=True)
def fewer_comparisons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity_module, "BATCHES", (1, 5))
    monkeypatch.setattr(parity_module, "LENGTHS", (1, 17))


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_an_export_agrees_with_its_network(cell: Cell, layers: int, tmp_path: Path) -> None:
    network = tiny_classifier(cell, layers)
    exported = export_classifier(network, tmp_path)
    assert exported.graphs.keys() == {"initial", "observe"}
    assert exported.minimum_batch == (2 if cell == "RNN" else 1)
    assert 0 < classifier_parity(network, exported).max_abs_error < 1e-6


@pytest.mark.parametrize("cell", CELLS)
def test_one_character_at_a_time_gives_the_bits_of_the_whole(cell: Cell, tmp_path: Path) -> None:
    export_classifier(tiny_classifier(cell), tmp_path)
    graphs = ExportedClassifier(tmp_path)
    tokens = np.random.default_rng(0).integers(0, 11, (1, 30))
    whole, after = graphs.observe(graphs.initial(), tokens)
    rows, steps = graphs.initial(), []
    for step in range(30):
        found, rows = graphs.observe(rows, tokens[:, step : step + 1])
        steps.append(found)
    assert np.concatenate(steps, axis=1).tobytes() == whole.tobytes() and rows.tobytes() == after.tobytes()
    np.testing.assert_allclose(whole.sum(-1), 1, rtol=1e-6)


@pytest.mark.parametrize("parameter", ["embedding.weight", "recurrence.rnn.weight_hh_l0", "output.bias"])
def test_a_network_that_moved_on_after_its_export_is_refused(parameter: str, tmp_path: Path) -> None:
    network = tiny_classifier()
    exported = export_classifier(network, tmp_path)
    with torch.no_grad():
        network.get_parameter(parameter)[1].add_(0.5)
    with pytest.raises(ParityError, match="probabilities: differs from PyTorch by"):
        classifier_parity(network, exported)
