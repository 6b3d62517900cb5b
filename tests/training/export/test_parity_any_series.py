"""Exported networks for any series pass for every cell; one that moved on, or forgets, does not."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from tests.training.export.tiny import CELLS, tiny_any_series  # noqa: E402
from training.export import expert_features  # noqa: E402
from training.export import parity_any_series as parity_module  # noqa: E402
from training.export.any_series import export_any_series  # noqa: E402
from training.export.builder import GraphBuilder, Value  # noqa: E402
from training.export.expert_features import Foreseen, Stream  # noqa: E402
from training.export.parity import ParityError  # noqa: E402
from training.export.parity_any_series import any_series_parity  # noqa: E402
from training.networks.expert_features import ExpertSettings  # noqa: E402
from training.networks.recurrence import Cell  # noqa: E402


@pytest.fixture(autouse=True)
def fewer_comparisons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity_module, "BATCHES", (1, 6))
    monkeypatch.setattr(parity_module, "LENGTHS", (1, 29))


@pytest.mark.parametrize("conformal", [0.0, 0.1])
@pytest.mark.parametrize("cell", CELLS)
def test_an_export_agrees_with_its_network(cell: Cell, conformal: float, tmp_path: Path) -> None:
    network = tiny_any_series(cell, conformal=conformal)
    verified = any_series_parity(network, export_any_series(network, tmp_path))
    assert 0 < verified.max_abs_error < 1e-5


@pytest.mark.parametrize("parameter", ["recurrence.rnn.weight_hh_l0", "head.weight"])
def test_a_network_that_moved_on_after_its_export_is_refused(parameter: str, tmp_path: Path) -> None:
    network = tiny_any_series()
    exported = export_any_series(network, tmp_path)
    with torch.no_grad():
        network.get_parameter(parameter).add_(0.01)
    with pytest.raises(ParityError, match="differs from PyTorch by"):
        any_series_parity(network, exported)


def test_a_graph_that_forgets_an_experts_errors_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(g: GraphBuilder, stream: Stream, value: Value, seen: Foreseen, settings: ExpertSettings) -> Stream:
        return original(g, stream, value, seen, settings)._replace(error=g.node("Identity", stream.error))

    original = expert_features.advance
    monkeypatch.setattr(expert_features, "advance", forgetful)
    network = tiny_any_series()
    exported = export_any_series(network, tmp_path)
    with pytest.raises(ParityError, match="differs from PyTorch by"):
        any_series_parity(network, exported)
