"""One graph: what it is given and gives, checked on both sides."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from service.contract.manifest import GraphName, GraphReference, ManifestError, Tensor, load_manifest
from service.errors import InputMismatch, StepFailed
from service.models.device import Device, why_cuda_cannot_load
from service.models.graph import Array, Graph
from tests import known_graphs, known_models

CPU = Device("cpu")


def loaded(folder: Path, name: GraphName, reference: GraphReference | None = None, device: Device = CPU) -> Graph:
    described = load_manifest(folder).graphs[name]
    weights = {"weights.bin": (folder / "weights.bin").read_bytes()}
    return Graph((folder / described.file).read_bytes(), reference or described, weights, device)


@pytest.fixture
def observe(tmp_path: Path) -> Graph:
    folder = known_models.running_sum(tmp_path)
    return loaded(folder, "observe")


def rows(batch: int = 1) -> Array:
    return np.tile(np.array([[np.nan, 0, np.nan]], np.float32), (batch, 1))


def series(*values: float) -> Array:
    return np.array([values], np.float32)


def test_the_answer_is_the_known_arithmetic(observe: Graph) -> None:
    outputs = observe.run({"state": rows(), "target": series(1, 2, float("nan"), 4)})
    np.testing.assert_array_equal(outputs["quantiles"][0, :, 1], np.array([np.nan, 1, 3, 3], np.float32))
    np.testing.assert_array_equal(outputs["pit"][0], np.array([np.nan, 0.75, np.nan, 0.75], np.float32))
    np.testing.assert_array_equal(outputs["next_state"][0], np.array([3, 0, 4], np.float32))


def test_generating_leaves_what_observing_the_samples_leaves(tmp_path: Path, observe: Graph) -> None:
    folder = tmp_path / known_models.RUNNING_SUM / "1"
    generate = loaded(folder, "generate")
    begun = observe.run({"state": rows(), "target": series(0.3)})["next_state"]
    generated = generate.run({"state": begun, "uniforms": series(0.1, 0.7, 0.9)})
    observed = observe.run({"state": begun, "target": generated["samples"]})
    assert generated["next_state"].tobytes() == observed["next_state"].tobytes()


def test_a_later_run_leaves_earlier_outputs_alone(observe: Graph) -> None:
    first = observe.run({"state": rows(), "target": series(1, 2)})
    kept = {name: array.copy() for name, array in first.items()}
    for value in range(20):
        observe.run({"state": rows(), "target": series(value, value)})
    for name, array in kept.items():
        np.testing.assert_array_equal(first[name], array)


def test_arrays_need_not_be_contiguous(observe: Graph) -> None:
    target = np.arange(12, dtype=np.float32).reshape(2, 6)
    strided = observe.run({"state": rows(2), "target": target[:, ::2]})
    whole = observe.run({"state": rows(2), "target": target[:, ::2].copy()})
    np.testing.assert_array_equal(strided["next_state"], whole["next_state"])


def test_inputs_are_left_unchanged(observe: Graph) -> None:
    state, target = rows(), series(5, 6)
    observe.run({"state": state, "target": target})
    np.testing.assert_array_equal(state, rows())
    np.testing.assert_array_equal(target, series(5, 6))


def test_several_threads_may_run_one_graph(observe: Graph) -> None:
    def total(value: int) -> float:
        row = rows()
        for _ in range(50):
            row = observe.run({"state": row, "target": series(value)})["next_state"]
        return float(row[0, 0])

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(total, range(8))) == [49 * value for value in range(8)]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"state": rows()}, r"expected inputs \['state', 'target'\], got \['state'\]"),
        ({"state": rows(), "target": series(1), "extra": series(1)}, r"got \['extra', 'state', 'target'\]"),
        ({"state": rows(), "target": np.ones((1, 1))}, r"target: expected \(B=1, T\) float32, got \(1, 1\) float64"),
        ({"state": rows(), "target": np.ones(1, np.float32)}, r"target: expected \(B=1, T\) float32, got \(1\)"),
        ({"state": rows(2), "target": series(1)}, r"target: expected \(B=2, T\) float32, got \(1, 1\)"),
        ({"state": rows()[:, :2], "target": series(1)}, r"state: expected \(B=1, 3\) float32, got \(1, 2\)"),
        (
            {"state": rows(), "target": np.ones((1, 0), np.float32)},
            r"target: expected \(B=1, T\) float32, got \(1, 0\)",
        ),
        ({"state": rows()[:0], "target": series(1)[:0]}, r"state: expected \(B, 3\) float32, got \(0, 3\)"),
    ],
)
def test_what_does_not_fit_is_refused_naming_both_sides(observe: Graph, inputs: dict[str, Array], message: str) -> None:
    with pytest.raises(InputMismatch, match=message):
        observe.run(inputs)


def test_what_did_fit_once_excuses_nothing_later(observe: Graph) -> None:
    fitting = {"state": rows(), "target": series(1)}
    for _ in range(2):
        observe.run(fitting)
    for inputs in (
        {"state": rows()},
        {**fitting, "extra": series(1)},
        {**fitting, "target": np.ones((1, 1))},
        {"target": rows(), "state": series(1)},
    ):
        with pytest.raises(InputMismatch):
            observe.run(inputs)


def test_a_failed_run_is_ours_prints_nothing_and_harms_no_later_run(
    observe: Graph, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(StepFailed, match="observe.onnx") as caught:
        observe.run({"state": rows(), "target": series(known_graphs.FAILING_VALUE)})
    assert caught.value.__cause__ is not None
    assert "onnxruntime/core" not in caught.value.message
    assert observe.run({"state": rows(), "target": series(7)})["next_state"][0, 2] == 7
    assert capfd.readouterr() == ("", "")


def changed(reference: GraphReference, name: str, changes: dict[str, object]) -> GraphReference:
    inputs = tuple(
        Tensor.model_validate({**tensor.model_dump(), **changes}) if tensor.name == name else tensor
        for tensor in reference.inputs
    )
    return reference.model_copy(update={"inputs": inputs})


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (
            "target",
            {"name": "values"},
            r"the manifest names \['state', 'values'\], the graph has \['state', 'target'\]",
        ),
        (
            "target",
            {"dtype": "int64"},
            r"the manifest says tensor\(int64\) \(B, T\), the graph tensor\(float\) \(B, T\)",
        ),
        (
            "state",
            {"shape": ("B", 4)},
            r"the manifest says tensor\(float\) \(B, 4\), the graph tensor\(float\) \(B, 3\)",
        ),
        ("state", {"shape": ("B", "T")}, r"\(B, T\), the graph tensor\(float\) \(B, 3\)"),
        ("target", {"shape": ("B", 24)}, r"\(B, 24\), the graph tensor\(float\) \(B, T\)"),
        ("target", {"shape": ("B", "T", 1)}, r"\(B, T, 1\), the graph tensor\(float\) \(B, T\)"),
    ],
)
def test_a_graph_unlike_its_description_is_refused(
    tmp_path: Path, name: str, changes: dict[str, object], message: str
) -> None:
    folder = known_models.running_sum(tmp_path)
    reference = changed(load_manifest(folder).graphs["observe"], name, changes)
    with pytest.raises(ManifestError, match=message):
        loaded(folder, "observe", reference)


@pytest.mark.skipif(why_cuda_cannot_load() is None, reason="CUDA loads here")
@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_graph_that_would_quietly_run_elsewhere_is_refused(tmp_path: Path) -> None:
    folder = known_models.running_sum(tmp_path)
    with pytest.raises(ManifestError, match="observe.onnx: expected to run on CUDAExecutionProvider"):
        loaded(folder, "observe", device=Device("cuda"))


def test_what_is_no_graph_is_refused(tmp_path: Path) -> None:
    folder = known_models.running_sum(tmp_path)
    (folder / "observe.onnx").write_bytes(b"no graph at all")
    with pytest.raises(ManifestError, match="observe.onnx: onnxruntime cannot load it"):
        loaded(folder, "observe")
