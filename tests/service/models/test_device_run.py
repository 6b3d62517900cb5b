"""Runs on device memory give what the graph gives; on the CPU provider everywhere, on CUDA where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.contract.manifest import GraphName
from service.errors import StepFailed
from service.models import device_run
from service.models.device import Device
from service.models.device_rows import RowMover, Rows, device_rows
from service.models.device_run import DeviceRuns, padded_batch
from service.models.graph import Array, Graph
from service.models.model import Model
from tests import known_graphs, known_models
from tests.service.models.devices import DEVICES


@pytest.fixture(scope="module", params=DEVICES)
def device(request: pytest.FixtureRequest) -> Device:
    device: Device = request.param
    return device


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, device: Device) -> dict[str, Model]:
    folder = tmp_path_factory.mktemp("models")
    direct = known_models.running_sum(folder, name="direct", path_correlation=0.5, calendar=["hour_of_day"])
    made = (known_models.running_sum(folder), known_models.next_token(folder), direct)
    return {path.parent.name: Model.load(path, device) for path in made}


@pytest.fixture
def observe(models: dict[str, Model]) -> Graph:
    return models[known_models.RUNNING_SUM].graphs["observe"]


@pytest.fixture(scope="module")
def mover(device: Device) -> RowMover:
    return RowMover(device)


def sums(count: int) -> Rows:
    """Rows of the running sum: sum, padding and pending value."""
    rows = np.zeros((count, 3), np.float32)
    rows[:, 0] = np.arange(count)
    return rows


def varied_inputs(model: Model, name: GraphName, batch: int, steps: int) -> dict[str, Array]:
    """Inputs in which every row and step is another."""
    random = np.random.default_rng(0)
    inputs = model.example_inputs(name, batch, steps)
    for tensor in ("target", "uniforms"):
        if tensor in inputs:
            inputs[tensor] = random.uniform(0.05, 0.95, (batch, steps)).astype(np.float32)
    if "tokens" in inputs:
        inputs["tokens"] = random.integers(1, 20, (batch, steps))
    return inputs


@pytest.mark.parametrize(("batch", "padded"), [(1, 1), (2, 2), (3, 4), (64, 64), (65, 128), (256, 256), (257, 512)])
def test_batches_are_padded_to_few_sizes(batch: int, padded: int) -> None:
    assert padded_batch(batch) == padded


@pytest.mark.parametrize("chained", [False, True])
@pytest.mark.parametrize(("batch", "steps"), [(1, 1), (3, 4), (5, 5), (8, 16)])
@pytest.mark.parametrize("name", ["observe", "generate"])
@pytest.mark.parametrize("model", [known_models.RUNNING_SUM, known_models.NEXT_TOKEN])
def test_a_run_on_the_device_gives_what_the_graph_gives(
    models: dict[str, Model], mover: RowMover, model: str, name: GraphName, batch: int, steps: int, chained: bool
) -> None:
    inputs = varied_inputs(models[model], name, batch, steps)
    graph = models[model].graphs[name]
    expected = graph.run(inputs)
    run = DeviceRuns(graph, mover, chained=chained).of(batch, steps)
    fill(run.inputs, inputs)
    run.set_rows(slice(None), inputs["state"])
    outputs = run.run()
    assert outputs.keys() == expected.keys() - {"next_state"}
    for output, values in outputs.items():
        assert values.dtype == expected[output].dtype and values.flags.c_contiguous
        assert_same(values, expected[output], mover.device)
    assert_same(run.next_rows(), expected["next_state"], mover.device)


@pytest.mark.parametrize("batch", [1, 3, 70])
def test_a_direct_forecast_on_the_device_leaves_every_row_as_it_is(
    models: dict[str, Model], mover: RowMover, batch: int
) -> None:
    graph = models["direct"].graphs["forecast"]
    inputs = models["direct"].example_inputs("forecast", batch, 1)
    inputs |= {"state": sums(batch), "calendar": np.random.default_rng(1).random((batch, 24, 2)).astype(np.float32)}
    run = DeviceRuns(graph, mover).of(batch, 1)
    fill(run.inputs, inputs)
    run.set_rows(slice(None), inputs["state"])
    outputs = run.run()
    assert outputs.keys() == {"quantiles"}
    assert_same(outputs["quantiles"], graph.run(inputs)["quantiles"], mover.device)


def assert_same(found: Array, expected: Array, device: Device) -> None:
    """The same bits on the CPU; CUDA may choose another algorithm for another batch size."""
    if device.name == "cpu":
        np.testing.assert_array_equal(found, expected)
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def fill(places: dict[str, Array], inputs: dict[str, Array]) -> None:
    for name, place in places.items():
        place[...] = inputs[name]


@pytest.mark.parametrize("steps", [1, 4])
def test_rows_go_from_table_to_table_without_the_host(observe: Graph, mover: RowMover, steps: int) -> None:
    table = device_rows(10, 3, mover.device)
    table.update_inplace(sums(10))
    run = DeviceRuns(observe, mover).of(3, steps)
    run.gather_rows(table, np.array([7, 2, 5]))
    run.inputs["target"][:] = 1
    run.run()
    run.scatter_rows([2, 0], table, np.array([0, 9]))
    expected = sums(10)[:, 0]
    expected[[0, 9]] = np.array([5, 7]) + steps - 1
    assert table.numpy()[:, 0].tolist() == expected.tolist()


def test_rows_of_the_host_and_of_the_table_meet_in_one_run(observe: Graph, mover: RowMover) -> None:
    table = device_rows(10, 3, mover.device)
    table.update_inplace(sums(10))
    run = DeviceRuns(observe, mover).of(3, 1)
    run.gather_rows(table, np.array([7, 0, 5]))
    run.set_rows([1], np.array([[100, 0, 0]], np.float32))
    run.inputs["target"][:] = 1
    run.run()
    assert run.next_rows()[:, 0].tolist() == [7, 100, 5]
    assert run.next_rows([1])[:, 0].tolist() == [100]
    assert run.next_rows(slice(1, 3))[:, 0].tolist() == [100, 5]


def test_outputs_are_arrays_of_their_own(observe: Graph, mover: RowMover) -> None:
    run = DeviceRuns(observe, mover).of(2, 1)
    run.set_rows(slice(None), sums(2))
    run.inputs["target"][:] = 1
    outputs = run.run()
    kept = {name: values.copy() for name, values in outputs.items()}
    run.inputs["target"][:] = 50
    run.run()
    for name, values in kept.items():
        np.testing.assert_array_equal(outputs[name], values)


def test_batches_of_one_padded_size_share_buffers_and_never_meet(observe: Graph, mover: RowMover) -> None:
    runs = DeviceRuns(observe, mover)
    for batch in (4, 3, 4):
        run = runs.of(batch, 1)
        run.set_rows(slice(None), sums(batch))
        run.inputs["target"][:] = 1
        outputs = run.run()
        assert outputs["pit"].shape == (batch, 1)
        assert run.next_rows()[:, 0].tolist() == list(range(batch))


def test_a_failed_run_is_ours_and_harms_no_later_one(observe: Graph, mover: RowMover) -> None:
    if mover.device.name == "cuda":
        pytest.skip("what fails in this graph is a check that only the CPU makes")
    run = DeviceRuns(observe, mover).of(1, 1)
    run.set_rows(slice(None), sums(1))
    run.inputs["target"][:] = known_graphs.FAILING_VALUE
    with pytest.raises(StepFailed, match="observe.onnx"):
        run.run()
    run.inputs["target"][:] = 7
    run.run()
    assert run.next_rows()[0, 2] == 7


class TestCudaGraphs:
    """The CPU provider captures nothing, but the way there and back is the same."""

    @pytest.fixture
    def graph(self, tmp_path: Path, device: Device) -> Iterator[Graph]:
        folder = known_models.next_token(tmp_path)
        yield Model.load(folder, Device(device.name, cuda_graphs=True)).graphs["observe"]

    def test_a_captured_run_gives_what_the_eager_one_gives(
        self, graph: Graph, mover: RowMover, models: dict[str, Model], caplog: pytest.LogCaptureFixture
    ) -> None:
        runs = DeviceRuns(graph, mover)
        for batch in (1, 3, 4):
            for seed in range(3):
                inputs = varied_inputs(models[known_models.NEXT_TOKEN], "observe", batch, 4)
                inputs["tokens"] += seed
                run = runs.of(batch, 4)
                fill(run.inputs, inputs)
                run.set_rows(slice(None), inputs["state"])
                outputs, expected = run.run(), graph.run(inputs)
                assert_same(outputs["log_probabilities"], expected["log_probabilities"], mover.device)
                assert_same(run.next_rows(), expected["next_state"], mover.device)
        assert not caplog.records

    def test_each_size_is_captured_under_a_number_of_its_own(
        self, graph: Graph, mover: RowMover, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(device_run, "_CAPTURED_AHEAD", (1, 2))
        seen = self.watch(graph, monkeypatch)
        runs = DeviceRuns(graph, mover)
        # Each size: once eagerly, then captured and compared.
        assert seen == ["-1", "1", "1", "1", "1", "-1", "2", "2", "2", "2"]
        seen.clear()
        for batch in (1, 2, 1):
            runs.of(batch, 1).run()
        assert seen == ["1", "2", "1"]
        seen.clear()
        runs.of(3, 1).run()
        assert seen == ["-1", "3", "3", "3", "3", "3"]

    def test_a_graph_that_answers_otherwise_is_not_used(
        self, graph: Graph, mover: RowMover, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        execute = graph.execute

        def wrong(binding: Any, options: Any = None) -> None:
            execute(binding, options)
            if options.get_run_config_entry("gpu_graph_id") != "-1":
                binding._bound_outputs["next_state"].update_inplace(np.ones((1, 2), np.float32))

        monkeypatch.setattr(device_run, "_CAPTURED_AHEAD", (1,))
        monkeypatch.setattr(graph, "execute", wrong)
        run = DeviceRuns(graph, mover).of(1, 1)
        assert "without a CUDA graph at batch 1 and 1 steps: its answers differ" in caplog.text
        run.set_rows(slice(None), np.full((1, 2), 3, np.float32))
        run.inputs["tokens"][:] = 1
        run.run()
        assert run.next_rows().tolist() != [[1, 1]]

    def test_a_capture_that_fails_leaves_the_run_as_it_was(
        self, graph: Graph, mover: RowMover, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        execute = graph.execute

        def fails(binding: Any, options: Any = None) -> None:
            if options.get_run_config_entry("gpu_graph_id") != "-1":
                raise StepFailed("failed") from RuntimeError("error 900")
            execute(binding, options)

        monkeypatch.setattr(graph, "execute", fails)
        run = DeviceRuns(graph, mover).of(1, 1)
        assert "without a CUDA graph at batch 1 and 1 steps: error 900" in caplog.text
        run.run()

    def watch(self, graph: Graph, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        seen: list[str] = []
        execute = graph.execute

        def noting(binding: Any, options: Any = None) -> None:
            seen.append(options.get_run_config_entry("gpu_graph_id"))
            execute(binding, options)

        monkeypatch.setattr(graph, "execute", noting)
        return seen


def test_a_graph_that_cannot_be_captured_runs_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Device, "capturing_providers", ["NoSuchProvider"])
    model = Model.load(known_models.running_sum(tmp_path), Device("cpu", cuda_graphs=True))
    graph = model.graphs["observe"]
    assert not graph.captures and graph.eager_options is None
    assert graph.run(model.example_inputs("observe", 2, 3))["pit"].shape == (2, 3)
