"""The bundled models with their rows on a device: the answers of runs on the host, step by step and in chunks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from service.contract.manifest import GraphName
from service.engine.device_table import DeviceTable
from service.engine.tables import HostTable, Table, runs_of
from service.models.device import Device
from service.models.graph import Array
from service.models.model import Model
from tests.service.models.devices import DEVICES

MODELS = Path(__file__).parents[3] / "models"
SESSIONS, STEPS = 5, 21


@pytest.fixture(scope="module", params=["pjm-load", "melbourne-temperature", "songci"])
def folder(request: pytest.FixtureRequest) -> Path:
    return MODELS / str(request.param) / "1"


@pytest.fixture(scope="module")
def on_host(folder: Path) -> Model:
    return Model.load(folder, Device("cpu"))


@pytest.fixture(scope="module", params=DEVICES)
def on_device(folder: Path, request: pytest.FixtureRequest) -> Model:
    return Model.load(folder, request.param)


@pytest.mark.parametrize("name", ["observe", "generate"])
@pytest.mark.parametrize("lengths", [(1,) * 7 + (14,), (STEPS,)], ids=["steps", "whole"])
def test_rows_kept_on_the_device_give_the_answers_of_rows_kept_on_the_host(
    on_host: Model, on_device: Model, name: GraphName, lengths: tuple[int, ...]
) -> None:
    width, device = on_device.manifest.state.width, on_device.graphs[name].device
    if device.name == "cuda" and name == "generate" and on_host.manifest.text:
        pytest.skip("a draw on the border of two tokens may fall to the other side, and then the texts part")
    expected, expected_rows = answers(on_host, name, HostTable(width, 50), lengths)
    found, rows = answers(on_device, name, DeviceTable(width, 50, device), lengths)
    for output, values in expected.items():
        compare(found[output], values, device)
    compare(rows, expected_rows, device)


def answers(model: Model, name: GraphName, table: Table, lengths: tuple[int, ...]) -> tuple[dict[str, Array], Array]:
    """All outputs of sessions that take their steps in pieces of these lengths, and their rows in the end."""
    inputs = varied_inputs(model, name)
    slots = [slot for row in inputs.pop("state") if (slot := table.acquire(row)) is not None]
    runs, at, pieces = runs_of(model, name, table), 0, []
    for length in lengths:
        run = runs.of(SESSIONS, length)
        table.gather(np.array(slots), run)
        for tensor, values in inputs.items():
            run.inputs[tensor][:] = values[:, at : at + length] if values.ndim > 1 else values
        pieces.append(run.run())
        table.scatter(np.array(slots), run)
        at += length
    joined = {output: np.concatenate([piece[output] for piece in pieces], axis=1) for output in pieces[0]}
    return joined, table.take(np.array(slots))


def varied_inputs(model: Model, name: GraphName) -> dict[str, Array]:
    random = np.random.default_rng(3)
    inputs = model.example_inputs(name, SESSIONS, STEPS)
    for tensor, values in inputs.items():
        if tensor in ("target", "uniforms", "calendar", "covariates"):
            inputs[tensor] = random.uniform(0.05, 0.95, values.shape).astype(np.float32)
        elif tensor == "tokens":
            inputs[tensor] = random.integers(1, 50, values.shape)
    return inputs


def compare(found: Array, expected: Array, device: Device) -> None:
    """The same bits on the CPU; on CUDA other sums of the same numbers."""
    if device.name == "cpu":
        np.testing.assert_array_equal(found, expected)
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
