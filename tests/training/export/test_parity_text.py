"""Exported text generators pass for every cell; a wrong weight or another sampling do not."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from tests.training.export.tiny import CELLS, tiny_text_generator  # noqa: E402
from training.export import parity_text as parity_module  # noqa: E402
from training.export import text_generator  # noqa: E402
from training.export.parity import ParityError  # noqa: E402
from training.export.parity_text import text_parity  # noqa: E402
from training.export.text_generator import export_text_generator  # noqa: E402
from training.networks.recurrence import Cell  # noqa: E402


@pytest.fixture(autouse=True)
def fewer_comparisons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity_module, "BATCHES", (1, 5))
    monkeypatch.setattr(parity_module, "LENGTHS", (1, 17))


@pytest.mark.parametrize(("layers", "tied", "unknown_token"), [(1, False, None), (2, True, 0)])
@pytest.mark.parametrize("cell", CELLS)
def test_an_export_agrees_with_its_network(
    cell: Cell, layers: int, tied: bool, unknown_token: int | None, tmp_path: Path
) -> None:
    network = tiny_text_generator(cell, layers, tied=tied)
    exported = export_text_generator(network, tmp_path, start_token=3, unknown_token=unknown_token)
    assert 0 < text_parity(network, exported).max_abs_error < 1e-5


@pytest.mark.parametrize("parameter", ["embedding.weight", "recurrence.rnn.weight_hh_l0", "output.bias"])
def test_a_network_that_moved_on_after_its_export_is_refused(parameter: str, tmp_path: Path) -> None:
    network = tiny_text_generator()
    exported = export_text_generator(network, tmp_path, start_token=3, unknown_token=None)
    with torch.no_grad():
        network.get_parameter(parameter)[1].add_(0.5)
    with pytest.raises(ParityError, match="(log-probabilities|logits).*differs from PyTorch by"):
        text_parity(network, exported)


def test_a_graph_that_samples_otherwise_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_generator, "LARGEST_SHARE", 0.5)
    network = tiny_text_generator()
    exported = export_text_generator(network, tmp_path, start_token=3, unknown_token=None)
    with pytest.raises(ParityError, match="a token drawn at temperature .* outside of where PyTorch puts it"):
        text_parity(network, exported)
