"""A published model gives its weights back to a network that then computes the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from tests.training.export.tiny import CELLS, tiny_classifier, tiny_forecaster, tiny_text_generator  # noqa: E402
from training.diagnose.published_weights import fill  # noqa: E402
from training.errors import TrainingError  # noqa: E402
from training.export import export_forecaster, export_text_generator  # noqa: E402
from training.export.classifier import export_classifier  # noqa: E402
from training.networks.forecaster import Forecaster  # noqa: E402
from training.networks.recurrence import Cell  # noqa: E402


def assert_filled(network: nn.Module, folder: Path) -> None:
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    for parameter in network.parameters():
        nn.init.constant_(parameter, 7)
    fill(network, folder)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, weights[name], rtol=0, atol=0, msg=name)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_text_generators(tmp_path: Path, cell: Cell, tied: bool) -> None:
    network = tiny_text_generator(cell, layers=2, tied=tied)
    export_text_generator(network, tmp_path, start_token=1, unknown_token=0)
    assert_filled(network, tmp_path)


@pytest.mark.parametrize("cell", CELLS)
def test_forecasters(tmp_path: Path, cell: Cell) -> None:
    network = tiny_forecaster(cell, rich=True)
    export_forecaster(network, tmp_path)
    assert_filled(network, tmp_path)


@pytest.mark.parametrize("rich", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_forecasters_with_a_learned_initial_state(tmp_path: Path, cell: Cell, rich: bool) -> None:
    network = Forecaster(replace(tiny_forecaster(cell, rich=rich).settings, learned_state=True))
    for part in network.recurrence.begin:
        nn.init.normal_(part)
    export_forecaster(network, tmp_path)
    assert_filled(network, tmp_path)


def test_classifiers(tmp_path: Path) -> None:
    network = tiny_classifier("RNN")
    export_classifier(network, tmp_path)
    assert_filled(network, tmp_path)


def test_a_folder_without_graphs_and_a_graph_without_a_weight_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="expected observe.onnx"):
        fill(tiny_text_generator(), tmp_path)
    export_classifier(tiny_classifier(), tmp_path)
    with pytest.raises(TrainingError, match="expected weights for head.bias, head.weight"):
        fill(tiny_forecaster(), tmp_path)
