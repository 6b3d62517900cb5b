"""Prepared runs: the same answers as `Graph.run`, in buffers that are shared and never in the way."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from service.contract.manifest import GraphName
from service.errors import StepFailed
from service.models.graph import Graph
from service.models.graph_run import HostRuns
from service.models.repository import Repository
from tests import known_graphs, known_models
from tests.known_models import PREDICTION_LENGTH
from tests.service.conftest import CALENDAR_SUM, DIRECT_SUM, PAIRED_SUM


@pytest.fixture
def observe(known: Repository) -> Graph:
    return known.get(known_models.RUNNING_SUM).graphs["observe"]


def state(batch: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Sum, padding and pending value; each row another sum."""
    rows = np.zeros((batch, 3), np.float32)
    rows[:, 0] = np.arange(batch)
    return rows


@pytest.mark.parametrize(("batch", "steps"), [(1, 1), (1, 16), (3, 1), (5, 4)])
def test_a_prepared_run_gives_what_the_graph_gives(observe: Graph, batch: int, steps: int) -> None:
    target = np.arange(batch * steps, dtype=np.float32).reshape(batch, steps)
    expected = observe.run({"state": state(batch), "target": target})
    run = HostRuns(observe).of(batch, steps)
    run.inputs["target"][:] = target
    run.set_rows(slice(None), state(batch))
    outputs = run.run()
    assert outputs.keys() == expected.keys() - {"next_state"}
    for name, values in outputs.items():
        assert values.tobytes() == expected[name].tobytes()
    assert run.next_rows().tobytes() == expected["next_state"].tobytes()


@pytest.mark.parametrize("model", [known_models.RUNNING_SUM, known_models.NEXT_TOKEN, CALENDAR_SUM])
@pytest.mark.parametrize("name", ["observe", "generate"])
def test_every_kind_of_graph_can_be_prepared(known: Repository, model: str, name: GraphName) -> None:
    loaded = known.get(model)
    prepared, inputs = loaded.graphs[name], loaded.example_inputs(name, 2, 4)
    expected = prepared.run(inputs)
    run = HostRuns(prepared).of(2, 4)
    run.set_rows(slice(None), inputs.pop("state"))
    for tensor, values in inputs.items():
        run.inputs[tensor][:] = values
    outputs = run.run()
    for output, values in outputs.items():
        np.testing.assert_array_equal(values, expected[output])


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_a_graph_that_leaves_rows_as_they_are_can_be_prepared(known: Repository, batch: int) -> None:
    loaded = known.get(DIRECT_SUM)
    inputs = loaded.example_inputs("forecast", max(batch, 2), 1)
    run = HostRuns(loaded.graphs["forecast"], minimum_batch=2).of(batch, 1)
    run.set_rows(slice(None), state(batch))
    run.inputs["calendar"][:] = inputs["calendar"][:batch]
    outputs = run.run()
    assert outputs.keys() == {"quantiles"} and outputs["quantiles"].shape == (batch, PREDICTION_LENGTH, 3)
    assert outputs["quantiles"][:, 3, 2].tolist() == [row + 4 for row in range(batch)]


def test_outputs_are_new_arrays_and_rows_read_are_copies(observe: Graph) -> None:
    runs = HostRuns(observe)
    run = runs.of(2, 1)
    run.set_rows(slice(None), state(2))
    run.inputs["target"][:] = 7
    outputs, rows = run.run(), run.next_rows([1])
    kept = {name: values.copy() for name, values in outputs.items()}, rows.copy()
    run.inputs["target"][:] = 100
    run.run()
    runs.of(2, 4).run()
    assert all(np.array_equal(outputs[name], values, equal_nan=True) for name, values in kept[0].items())
    np.testing.assert_array_equal(rows, kept[1])


def test_rows_may_be_set_one_by_one(observe: Graph) -> None:
    run = HostRuns(observe).of(3, 1)
    for place in range(3):
        run.set_rows([place], state(3)[place : place + 1])
    run.inputs["target"][:] = 1
    run.run()
    assert run.next_rows()[:, 0].tolist() == [0, 1, 2]


def test_larger_batches_and_smaller_ones_take_turns(observe: Graph) -> None:
    runs = HostRuns(observe)
    for batch in (1, 64, 2, 500, 1):
        run = runs.of(batch, 1)
        run.set_rows(slice(None), state(batch))
        run.inputs["target"][:] = 1
        run.run()
        assert run.next_rows()[:, 0].tolist() == list(range(batch))


def test_small_batches_are_padded_where_the_model_needs_it(known: Repository) -> None:
    graph = known.get(PAIRED_SUM).graphs["observe"]
    run = HostRuns(graph, minimum_batch=2).of(1, 3)
    run.set_rows(slice(None), state(1))
    run.inputs["target"][:] = [1, 2, 3]
    outputs = run.run()
    expected = graph.run({"state": state(2) * 0, "target": np.tile(np.array([[1, 2, 3]], np.float32), (2, 1))})
    assert outputs["pit"].shape == (1, 3) and run.next_rows().shape == (1, 3)
    assert run.next_rows().tobytes() == expected["next_state"][:1].tobytes()


def test_a_failed_run_is_ours_and_harms_no_later_one(observe: Graph) -> None:
    run = HostRuns(observe).of(1, 1)
    run.set_rows(slice(None), state(1))
    run.inputs["target"][:] = known_graphs.FAILING_VALUE
    with pytest.raises(StepFailed, match="observe.onnx"):
        run.run()
    run.inputs["target"][:] = 7
    run.run()
    assert run.next_rows()[0, 2] == 7


def test_threads_with_runs_of_their_own_share_a_graph(observe: Graph) -> None:
    def total(value: int) -> float:
        run = HostRuns(observe).of(1, 1)
        run.set_rows([0], np.array([[np.nan, 0, np.nan]], np.float32))
        for _ in range(50):
            run.inputs["target"][:] = value
            run.run()
            run.set_rows([0], run.next_rows())
        return float(run.next_rows()[0, 0])

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(total, range(8))) == [49 * value for value in range(8)]
