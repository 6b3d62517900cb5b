"""Several members are one model: one graph, one row, quantiles averaged, exact in every bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tests.training.export.tiny import CELLS, tiny_forecaster  # noqa: E402
from training.export import parity_forecaster as parity_module  # noqa: E402
from training.export.forecaster import export_forecaster  # noqa: E402
from training.export.parity import ParityError  # noqa: E402
from training.export.parity_forecaster import forecaster_parity  # noqa: E402
from training.export.runner import ExportedForecaster  # noqa: E402
from training.networks.ensemble import Ensemble  # noqa: E402
from training.networks.forecaster import Forecaster  # noqa: E402
from training.networks.recurrence import Cell  # noqa: E402


@pytest.fixture(autouse=True)
def fewer_comparisons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity_module, "BATCHES", (1, 6))
    monkeypatch.setattr(parity_module, "LENGTHS", (1, 9))


def tiny_ensemble(cell: Cell = "LSTM", *, rich: bool = False) -> Ensemble:
    first = tiny_forecaster(cell, 2, rich=rich)
    torch.manual_seed(1)
    return Ensemble([first, Forecaster(first.settings), Forecaster(first.settings)])


@pytest.mark.parametrize("rich", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_an_export_agrees_with_the_mean_of_its_members(cell: Cell, rich: bool, tmp_path: Path) -> None:
    network = tiny_ensemble(cell, rich=rich)
    verified = forecaster_parity(network, export_forecaster(network, tmp_path))
    assert 0 < verified.max_abs_error < 1e-5


def test_a_member_that_moved_on_after_the_export_is_refused(tmp_path: Path) -> None:
    network = tiny_ensemble()
    exported = export_forecaster(network, tmp_path)
    with torch.no_grad():
        network.get_parameter("members.1.head.weight").add_(0.03)
    with pytest.raises(ParityError, match="differs from PyTorch by"):
        forecaster_parity(network, exported)


def test_each_member_has_its_fields_in_the_row(tmp_path: Path) -> None:
    exported = export_forecaster(tiny_ensemble("GRU"), tmp_path)
    names = [field.name for field in exported.state.fields]
    assert names[:3] == ["hidden", "member.1.hidden", "member.2.hidden"]


def test_copies_of_one_network_say_what_it_says(tmp_path: Path) -> None:
    network = tiny_forecaster()
    export_forecaster(network, tmp_path / "one")
    export_forecaster(Ensemble([network, network]), tmp_path / "two")
    one, two = (ExportedForecaster(tmp_path / name) for name in ("one", "two"))
    target = np.random.default_rng(0).normal(10, 2, (2, 20)).astype(np.float32)
    found, expected = two.observe(two.initial(batch=2), target), one.observe(one.initial(batch=2), target)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
