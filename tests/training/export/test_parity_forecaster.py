"""Exported forecasters pass for every cell; a wrong weight, a wrong formula, a look ahead do not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from tests.training.export.tiny import CELLS, tiny_forecaster  # noqa: E402
from training.export import causal_features  # noqa: E402
from training.export import parity_forecaster as parity_module  # noqa: E402
from training.export.forecaster import export_forecaster  # noqa: E402
from training.export.parity import ParityError  # noqa: E402
from training.export.parity_forecaster import forecaster_parity  # noqa: E402
from training.networks.anomaly_likelihood import AnomalySettings  # noqa: E402
from training.networks.recurrence import Cell  # noqa: E402


@pytest.fixture(autouse=True)
def fewer_comparisons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity_module, "BATCHES", (1, 6))
    monkeypatch.setattr(parity_module, "LENGTHS", (1, 9))


@pytest.mark.parametrize(("layers", "rich"), [(1, False), (2, True)])
@pytest.mark.parametrize("cell", CELLS)
def test_an_export_agrees_with_its_network(cell: Cell, layers: int, rich: bool, tmp_path: Path) -> None:
    network = tiny_forecaster(cell, layers, rich=rich)
    verified = forecaster_parity(network, export_forecaster(network, tmp_path))
    assert 0 < verified.max_abs_error < 1e-5
    assert verified.exported.cell == cell


@pytest.mark.parametrize("cell", CELLS)
def test_an_export_that_adapts_its_intervals_agrees_with_its_network(cell: Cell, tmp_path: Path) -> None:
    network = tiny_forecaster(cell, 1, rich=True, conformal=0.1)
    assert forecaster_parity(network, export_forecaster(network, tmp_path)).max_abs_error < 1e-5


def test_scores_by_another_rule_are_refused(tmp_path: Path) -> None:
    network = tiny_forecaster()
    exported = export_forecaster(network, tmp_path)
    network.settings = replace(network.settings, anomaly=AnomalySettings(warm_up=0))
    with pytest.raises(ParityError, match="anomaly_score: differs"):
        forecaster_parity(network, exported)


def test_intervals_that_adapt_at_another_rate_are_refused(tmp_path: Path) -> None:
    network = tiny_forecaster(conformal=0.1)
    exported = export_forecaster(network, tmp_path)
    network.settings = replace(network.settings, conformal=0.11)
    with pytest.raises(ParityError, match="conformal factors after step"):
        forecaster_parity(network, exported)


@pytest.mark.parametrize("parameter", ["recurrence.rnn.weight_hh_l0", "recurrence.rnn.bias_ih_l0", "head.weight"])
def test_a_network_that_moved_on_after_its_export_is_refused(parameter: str, tmp_path: Path) -> None:
    network = tiny_forecaster()
    exported = export_forecaster(network, tmp_path)
    with torch.no_grad():
        network.get_parameter(parameter).add_(0.01)
    with pytest.raises(ParityError, match="differs from PyTorch by"):
        forecaster_parity(network, exported)


def test_a_graph_that_depends_on_the_cut_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(g: object, statistics: str, target: str, decay: float) -> tuple[str, str]:
        after, every = original(g, statistics, target, decay)  # type: ignore[arg-type]
        return statistics, every

    original = causal_features.advance_over
    monkeypatch.setattr(causal_features, "advance_over", forgetful)
    monkeypatch.setattr(parity_module, "LENGTHS", (9,))
    network = tiny_forecaster()
    exported = export_forecaster(network, tmp_path)
    with pytest.raises(ParityError, match="observe: 9 steps in pieces of .* differs in"):
        forecaster_parity(network, exported)


def test_network_is_left_as_it_was(tmp_path: Path) -> None:
    network = tiny_forecaster().train()
    forecaster_parity(network, export_forecaster(network, tmp_path))
    assert network.training and network.recurrence.rnn.training
