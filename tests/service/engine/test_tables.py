"""State tables on the host and on a device behave alike; the device is the CPU provider, and CUDA where it loads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.engine.device_table import DeviceTable
from service.engine.state_table import Rows
from service.engine.tables import HostTable, Table, runs_of, table_of
from service.errors import StepFailed
from service.models.device import Device
from service.models.model import Model
from tests import known_models
from tests.service.models.devices import DEVICES

Make = Callable[[int, int], Table]


def on(device: Device) -> Make:
    return lambda width, capacity: DeviceTable(width, capacity, device)


@pytest.fixture(params=[pytest.param(HostTable, id="host"), *DEVICES])
def make(request: pytest.FixtureRequest) -> Make:
    return on(request.param) if isinstance(request.param, Device) else HostTable


def row(value: float) -> Rows:
    return np.full(3, value, np.float32)


def test_rows_are_taken_and_put_by_slot(make: Make) -> None:
    table = make(3, 4)
    slots = [table.acquire(row(value)) for value in (1, 2)]
    assert slots == [0, 1] and (table.in_use, table.capacity, table.row_bytes) == (2, 4, 12)
    table.put([1, 0], np.stack([row(20), row(10)]))
    assert table.take([0, 1]).tolist() == [[10] * 3, [20] * 3]


def test_rows_are_taken_into_an_array_where_one_is_given(make: Make) -> None:
    table, out = make(3, 2), np.zeros((1, 3), np.float32)
    table.acquire(row(5))
    assert table.take([0], out=out) is out and out.tolist() == [[5] * 3]


def test_what_is_taken_or_was_given_is_nobody_elses(make: Make) -> None:
    table, given = make(3, 1), row(1)
    table.acquire(given)
    given[:] = 8
    table.take([0])[:] = 9
    assert table.take([0]).tolist() == [[1] * 3]


def test_a_full_table_gives_no_slot_until_one_is_released(make: Make) -> None:
    table = make(3, 2)
    table.acquire(row(1))
    table.acquire(row(2))
    assert table.acquire(row(3)) is None
    table.release(0)
    assert table.acquire(row(3)) == 0
    assert table.take([0, 1]).tolist() == [[3] * 3, [2] * 3]


def test_a_released_slot_holds_nothing_of_its_last_session(make: Make) -> None:
    table = make(3, 2)
    table.acquire(row(7))
    table.put([0], row(6)[None])
    table.release(0)
    assert table.take([0]).tolist() == [[0] * 3]


@pytest.fixture(params=DEVICES)
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Model:
    return Model.load(known_models.running_sum(tmp_path), request.param)


@pytest.fixture(params=["its own", "device"])
def table(request: pytest.FixtureRequest, model: Model) -> Table:
    """What the model gets, and what it would get on a device."""
    if request.param == "its own":
        return table_of(model, 10)
    return DeviceTable(model.manifest.state.width, 10, model.graphs["observe"].device)


def sums(count: int) -> Rows:
    rows = np.zeros((count, 3), np.float32)
    rows[:, 0] = np.arange(count)
    return rows


@pytest.mark.parametrize("steps", [1, 4])
def test_a_run_takes_its_rows_from_the_table_and_leaves_them_there(model: Model, table: Table, steps: int) -> None:
    for each in sums(6):
        table.acquire(each)
    run = runs_of(model, "observe", table).of(3, steps)
    table.gather(np.array([4, 1, 3]), run)
    run.inputs["target"][:] = 1
    run.run()
    assert table.take([4, 1, 3])[:, 0].tolist() == [4, 1, 3]
    table.scatter([3, 4], run, [2, 0])
    assert table.take(range(6))[:, 0].tolist() == [0, 1, 2, 3 + steps - 1, 4 + steps - 1, 5]
    table.scatter([4, 1, 3], run)
    assert table.take(range(6))[:, 0].tolist() == [0, steps, 2, 3 + steps - 1, 4 + steps - 1, 5]


def test_generating_in_chunks_is_generating_at_once(model: Model, table: Table) -> None:
    runs = runs_of(model, "generate", table)
    uniforms = np.random.default_rng(0).uniform(size=(2, 7)).astype(np.float32)
    samples = []
    for lengths in ([7], [4, 1, 2]):
        slots = [table.acquire(each) for each in sums(2)]
        assert None not in slots
        at, given = 0, []
        for length in lengths:
            run = runs.of(2, length)
            table.gather(np.array(slots), run)
            run.inputs["uniforms"][:] = uniforms[:, at : at + length]
            given.append(run.run()["samples"])
            table.scatter(np.array(slots), run)
            at += length
        samples.append((np.concatenate(given, axis=1), table.take(np.array(slots))))
    np.testing.assert_array_equal(samples[0][0], samples[1][0])
    np.testing.assert_array_equal(samples[0][1], samples[1][1])


def test_rows_from_the_host_wait_for_the_next_use_of_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    table = DeviceTable(3, 100, Device("cpu"))
    moves: list[int] = []
    scatter = table.mover.scatter

    def counting(rows: Rows, *places: Any) -> None:
        moves.append(len(rows))
        scatter(rows, *places)

    monkeypatch.setattr(table.mover, "scatter", counting)
    for value in range(50):
        table.acquire(row(value))
    table.release(7)
    table.acquire(row(70))
    assert not moves
    assert table.take([7, 49]).tolist() == [[70] * 3, [49] * 3]
    assert moves == [50]


def test_a_table_that_does_not_fit_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StepFailed, match=r"do not fit on the device: keep fewer sessions there"):
        DeviceTable(2**20, 2**26, Device("cpu"))


def test_the_table_is_on_the_host_for_a_model_there_and_else_on_its_device(model: Model) -> None:
    expected = HostTable if model.graphs["observe"].device.name == "cpu" else DeviceTable
    assert isinstance(table_of(model, 5), expected)
