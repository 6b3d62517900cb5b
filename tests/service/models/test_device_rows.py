"""Rows moved on a device, run on the CPU provider through the same bindings; on CUDA too where there is one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnxruntime import OrtValue

from service.errors import StepFailed
from service.models import device_rows as module
from service.models.device import Device
from service.models.device_rows import RowMover, Rows, device_rows
from tests.service.models.devices import DEVICES


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> Device:
    device: Device = request.param
    return device


def numbered(count: int, width: int = 3) -> Rows:
    return np.arange(count * width, dtype=np.float32).reshape(count, width)


def holding(rows: Rows, device: Device) -> OrtValue:
    value = device_rows(len(rows), rows.shape[1], device)
    value.update_inplace(rows)
    return value


def test_rows_are_gathered_in_the_order_asked_for(device: Device) -> None:
    source, into = holding(numbered(5), device), device_rows(3, 3, device)
    RowMover(device).gather(source, [4, 0, 4], into)
    np.testing.assert_array_equal(into.numpy(), numbered(5)[[4, 0, 4]])


def test_rows_come_to_the_host_as_copies(device: Device) -> None:
    source = holding(numbered(5), device)
    rows = RowMover(device).take(source, np.array([3, 1]))
    source.update_inplace(numbered(5) * 0)
    np.testing.assert_array_equal(rows, numbered(5)[[3, 1]])


@pytest.mark.parametrize("in_place", [True, False])
def test_rows_are_scattered_and_the_others_stay(device: Device, in_place: bool) -> None:
    mover = RowMover(device)
    mover.in_place = in_place
    target, source = holding(numbered(6), device), holding(-numbered(3), device)
    address = target.data_ptr()
    mover.scatter(source, [2, 0], target, [5, 1])
    expected = numbered(6)
    expected[[5, 1]] = -numbered(3)[[2, 0]]
    np.testing.assert_array_equal(target.numpy(), expected)
    assert target.data_ptr() == address


def test_rows_of_the_host_are_scattered_too(device: Device) -> None:
    target = holding(numbered(4), device)
    RowMover(device).scatter(np.full((1, 3), 7, np.float32), [0], target, [2])
    assert target.numpy()[:, 0].tolist() == [0, 3, 7, 9]


def test_nothing_is_scattered_where_no_row_is_named(device: Device) -> None:
    target = holding(numbered(2), device)
    RowMover(device).scatter(target, [], target, [])
    np.testing.assert_array_equal(target.numpy(), numbered(2))


def test_a_scatter_changes_the_table_in_place(device: Device) -> None:
    """Proved by its time: in a table of 128 MiB it takes far less than a copy of the table."""
    mover = RowMover(device)
    assert mover.in_place
    target, spare = device_rows(65_536, 512, device), device_rows(65_536, 512, device)
    source = holding(numbered(8, 512), device)
    target.update_inplace(spare)
    copy = fastest(lambda: target.update_inplace(spare))
    scatter = fastest(lambda: mover.scatter(source, range(8), target, range(1000, 1008)))
    assert scatter < copy / 4, f"a scatter took {scatter * 1e6:.0f} µs, a copy of the table {copy * 1e6:.0f} µs"


def fastest(act: Callable[[], Any]) -> float:
    times = []
    for _ in range(5):
        started = time.perf_counter()
        act()
        times.append(time.perf_counter() - started)
    return min(times)


def test_a_provider_that_does_not_write_in_place_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    run = module._Mover.run

    def elsewhere(mover: module._Mover) -> None:
        binding = mover.binding
        if "changed" in binding._bound_outputs:
            binding.bind_ortvalue_output("changed", device_rows(4, 3, Device("cpu")))
        run(mover)

    monkeypatch.setattr(module._Mover, "run", elsewhere)
    assert not RowMover(Device("cpu")).in_place


def test_a_place_that_does_not_exist_is_our_error(device: Device) -> None:
    if device.name == "cuda":
        pytest.skip("CUDA checks no index")
    mover, target = RowMover(device), holding(numbered(2), device)
    with pytest.raises(StepFailed, match="could not be moved") as caught:
        mover.take(target, [5])
    assert caught.value.__cause__ is not None


def test_the_graphs_are_the_ones_built_here() -> None:
    def described(name: str, *shape: str, dtype: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, dtype, shape)

    table, chosen = described("table", "N", "S"), described("places", "C", dtype=TensorProto.INT64)
    gather = helper.make_graph(
        [helper.make_node("Gather", ["table", "places"], ["rows"], axis=0)],
        "gather",
        [table, described("places", "B", dtype=TensorProto.INT64)],
        [described("rows", "B", "S")],
    )
    scatter = helper.make_graph(
        [
            helper.make_node("Gather", ["rows", "which"], ["chosen"], axis=0),
            helper.make_node("Unsqueeze", ["places", "last"], ["indices"]),
            helper.make_node("ScatterND", ["table", "indices", "chosen"], ["changed"]),
        ],
        "scatter",
        [table, described("rows", "B", "S"), described("which", "C", dtype=TensorProto.INT64), chosen],
        [described("changed", "N", "S")],
        [helper.make_tensor("last", TensorProto.INT64, [1], [1])],
    )
    for content, graph in ((module.GATHER_GRAPH, gather), (module.SCATTER_GRAPH, scatter)):
        opset = [helper.make_opsetid("", 20)]
        built = helper.make_model(graph, opset_imports=opset, ir_version=10, producer_name="unroll")
        assert onnx.load_model_from_string(content) == built
