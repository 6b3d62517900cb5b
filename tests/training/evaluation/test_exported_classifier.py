"""A published classifier's probabilities on sequences are those of its network, whatever fills them up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tests.training.export.tiny import CELLS, tiny_classifier  # noqa: E402
from training.data.labelled_streams import Example  # noqa: E402
from training.evaluation.classification import probabilities_of  # noqa: E402
from training.evaluation.exported_classifier import exported_probabilities  # noqa: E402
from training.export import ExportedClassifier, export_classifier  # noqa: E402
from training.networks.recurrence import Cell  # noqa: E402


@pytest.mark.parametrize("cell", CELLS)
def test_the_exported_graphs_tell_what_the_network_tells(cell: Cell, tmp_path: Path) -> None:
    network, rng = tiny_classifier(cell), np.random.default_rng(0)
    export_classifier(network, tmp_path)
    examples = [Example(rng.integers(0, 11, length), np.full(length, np.nan, np.float32)) for length in (4, 1, 9, 2)]
    found = exported_probabilities(ExportedClassifier(tmp_path), examples)
    for ours, theirs in zip(found, probabilities_of(network, examples), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
