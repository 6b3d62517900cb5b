"""Hand-built graphs compute what they say, share their weights, and load without a warning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from service.contract.manifest import Tensor

pytest.importorskip("torch")

from training.export.builder import GraphBuilder, Weights


def scaled_running_sum(weights: Weights, name: str) -> GraphBuilder:
    g = GraphBuilder(name, weights)
    state, values = g.input("state", ("B", 1)), g.input("values", ("B", "T", 1), unit="MW")
    step = g.body("step")
    total, value = step.input("total", ("B", 1)), step.input("value", ("B", 1))
    after = step.node("Add", total, step.node("Mul", value, step.weight("factor", np.full(1, 3.0, np.float32))))
    step.output(after, ("B", 1))
    step.output(step.node("Identity", after), ("B", 1))
    last, sums = g.scan(step, [state], [values])
    g.node("Identity", sums, output="sums")
    g.output("sums", ("B", "T", 1))
    g.node("Add", last, 0.0, output="next_state")
    g.output("next_state", ("B", 1))
    return g


def test_scan_sees_weights_of_the_graph_around_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    weights = Weights()
    graph = scaled_running_sum(weights, "sum")
    weights.save(tmp_path)
    graph.save(tmp_path, {})
    session = onnxruntime.InferenceSession(str(tmp_path / "sum.onnx"), providers=["CPUExecutionProvider"])
    values = np.arange(6, dtype=np.float32).reshape(2, 3, 1)
    sums, state = session.run(["sums", "next_state"], {"state": np.ones((2, 1), np.float32), "values": values})
    np.testing.assert_array_equal(sums, 1 + 3 * np.cumsum(values, axis=1))
    np.testing.assert_array_equal(state, sums[:, -1])
    assert capfd.readouterr().err == ""


def test_graphs_share_one_copy_of_the_weights(tmp_path: Path) -> None:
    weights = Weights()
    graphs = [scaled_running_sum(weights, name) for name in ("one", "two")]
    reference = weights.save(tmp_path)
    for graph in graphs:
        graph.save(tmp_path, {})
    assert (tmp_path / reference.file).stat().st_size == 4
    places = [
        {entry.key: entry.value for tensor in onnx.load(path, load_external_data=False).graph.initializer
         for entry in tensor.external_data}
        for path in (tmp_path / "one.onnx", tmp_path / "two.onnx")
    ]  # fmt: skip
    assert places[0] == places[1] == {"location": "weights.bin", "offset": "0", "length": "4"}


def test_reference_describes_what_the_graph_takes_and_gives(tmp_path: Path) -> None:
    weights = Weights()
    graph = scaled_running_sum(weights, "sum")
    weights.save(tmp_path)
    reference = graph.save(tmp_path, {"cell": "none"})
    assert reference.inputs == (
        Tensor(name="state", dtype="float32", shape=("B", 1)),
        Tensor(name="values", dtype="float32", shape=("B", "T", 1), unit="MW"),
    )
    assert [tensor.name for tensor in reference.outputs] == ["sums", "next_state"]
    model = onnx.load(tmp_path / "sum.onnx")
    assert (model.ir_version, model.opset_import[0].version, model.producer_name) == (10, 20, "unroll")
    assert {entry.key: entry.value for entry in model.metadata_props} == {"cell": "none"}


def test_equal_constants_are_kept_once() -> None:
    g = GraphBuilder("constants", Weights())
    assert g.constant(2.0) == g.constant(np.float32(2)) != g.constant([2.0])
    assert g.integers(1) != g.constant(1.0)


def test_same_export_is_the_same_bytes(tmp_path: Path) -> None:
    hashes = set()
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        weights = Weights()
        graph = scaled_running_sum(weights, "sum")
        hashes.add((weights.save(folder).sha256, graph.save(folder, {"b": "1", "a": "2"}).sha256))
    assert len(hashes) == 1
