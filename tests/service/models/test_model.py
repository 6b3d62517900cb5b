"""Loading one model version: everything is checked before anything is trusted."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, helper

from service.contract.manifest import ManifestError, StaticCovariate, sha256_of
from service.models.device import Device
from service.models.model import Model
from tests import known_graphs, known_models

CPU = Device("cpu")
STATIC = (StaticCovariate(name="size"), StaticCovariate(name="region", categories=("north", "south")))


def test_a_forecaster_loads(tmp_path: Path) -> None:
    model = Model.load(known_models.running_sum(tmp_path), CPU)
    assert model.manifest.id == "running-sum/1"
    assert model.graphs.keys() == {"initial", "observe", "generate"}
    assert model.tokenizer is None


def test_a_text_model_loads_with_its_tokenizer(tmp_path: Path) -> None:
    model = Model.load(known_models.next_token(tmp_path), CPU)
    assert model.tokenizer is not None
    assert model.tokenizer.vocabulary_size == 28


@pytest.mark.parametrize("minimum_batch", [1, 2])
def test_models_with_every_kind_of_input_load(tmp_path: Path, minimum_batch: int) -> None:
    folder = known_models.running_sum(
        tmp_path,
        calendar=["hour_of_day"],
        future_covariates=["price", "holiday"],
        static_covariates=STATIC,
        minimum_batch=minimum_batch,
    )
    model = Model.load(folder, CPU)
    np.testing.assert_array_equal(
        model.initial(np.array([5, 1], np.float32)), np.array([np.nan, 6, np.nan], np.float32)
    )


def test_the_first_state_is_one_row_that_nobody_can_change(tmp_path: Path) -> None:
    row = Model.load(known_models.next_token(tmp_path), CPU).initial()
    np.testing.assert_array_equal(row, np.array([0, 1], np.float32))
    with pytest.raises(ValueError, match="read-only"):
        row[0] = 7


def test_loading_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Model.load(known_models.next_token(tmp_path), CPU)
    assert capfd.readouterr() == ("", "")


def test_files_changed_after_loading_change_nothing(tmp_path: Path) -> None:
    # onnxruntime maps files when it may: the process ended here with a bus error before weights were given as bytes.
    folder = known_models.next_token(tmp_path)
    model = Model.load(folder, CPU)
    inputs = {"state": np.array([[0, 1]], np.float32), "tokens": np.array([[2, 3, 9]])}
    before = model.graphs["observe"].run(inputs)["log_probabilities"]
    for file in folder.iterdir():
        file.write_bytes(b"")
    assert model.graphs["observe"].run(inputs)["log_probabilities"].tobytes() == before.tobytes()


def refused(folder: Path) -> str:
    with pytest.raises(ManifestError) as caught:
        Model.load(folder, CPU)
    return str(caught.value)


@pytest.mark.parametrize("file", ["initial.onnx", "observe.onnx", "generate.onnx", "weights.bin", "tokenizer.json"])
def test_a_file_of_other_bytes_is_refused_naming_both_hashes(tmp_path: Path, file: str) -> None:
    folder = known_models.next_token(tmp_path)
    before = sha256_of(folder / file)
    content = bytearray((folder / file).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / file).write_bytes(content)
    assert refused(folder) == f"{file}: the manifest says SHA-256 {before}, the file has {sha256_of(folder / file)}"


@pytest.mark.parametrize("file", ["observe.onnx", "weights.bin", "tokenizer.json"])
def test_a_missing_file_is_refused(tmp_path: Path, file: str) -> None:
    folder = known_models.next_token(tmp_path)
    (folder / file).unlink()
    assert refused(folder).startswith(f"{file}: the manifest names it, but it cannot be read")


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path).startswith("manifest.json: cannot be read")


@pytest.mark.parametrize("name", ["../weights.bin", "/etc/passwd", "a/../../b", "..", ".hidden", "with space"])
def test_a_file_name_that_is_a_path_is_refused(tmp_path: Path, name: str) -> None:
    folder = known_models.running_sum(tmp_path)
    known_models.change_manifest(folder, "weights", "file", to=name)
    assert "expected a plain file name inside the model's folder" in refused(folder)


def test_a_link_out_of_the_folder_is_refused_whatever_it_holds(tmp_path: Path) -> None:
    folder = known_models.running_sum(tmp_path)
    shutil.move(folder / "weights.bin", tmp_path / "weights.bin")
    (folder / "weights.bin").symlink_to(tmp_path / "weights.bin")
    assert "expected a file inside the model's folder, it links to" in refused(folder)


def test_a_link_within_the_folder_is_a_file_like_others(tmp_path: Path) -> None:
    folder = known_models.next_token(tmp_path)
    (folder / "..data").mkdir()
    shutil.move(folder / "tokenizer.json", folder / "..data" / "tokenizer.json")
    (folder / "tokenizer.json").symlink_to("..data/tokenizer.json")
    Model.load(folder, CPU)


@pytest.mark.parametrize("file", ["other.bin", "../other.bin", "/etc/hostname", "./weights.bin", "tokenizer.json"])
def test_a_graph_that_reads_another_file_than_the_weights_is_refused(tmp_path: Path, file: str) -> None:
    folder = known_models.running_sum(tmp_path)
    (folder / "other.bin").write_bytes(bytes(64))
    (folder.parent / "other.bin").write_bytes(bytes(64))
    known_models.replace_graph(folder, "observe", reading(file))
    assert refused(folder) == f"observe.onnx: expected data only in 'weights.bin', it refers to ['{file}']"


def reading(file: str) -> ModelProto:
    model = known_graphs.running_sum_observe()
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = file
    return model


def test_a_graph_that_reads_past_the_weights_is_refused(tmp_path: Path) -> None:
    folder = known_models.running_sum(tmp_path)
    model = known_graphs.running_sum_observe()
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "offset":
                entry.value = "4096"
    known_models.replace_graph(folder, "observe", model)
    assert refused(folder).startswith("observe.onnx: onnxruntime cannot load it")


def test_what_is_no_graph_is_refused(tmp_path: Path) -> None:
    folder = known_models.running_sum(tmp_path)
    (folder / "observe.onnx").write_bytes(b"\xff" * 20)
    known_models.change_manifest(folder, "graphs", "observe", "sha256", to=sha256_of(folder / "observe.onnx"))
    assert refused(folder).startswith("observe.onnx: expected an ONNX file")


def without_an_output() -> ModelProto:
    model = known_graphs.running_sum_observe()
    del model.graph.output[1]
    return model


def of_other_width() -> ModelProto:
    model = known_graphs.running_sum_observe()
    model.graph.input[1].CopyFrom(known_graphs.floats("target", "B", 24))
    return model


def failing_always() -> ModelProto:
    model = known_graphs.running_sum_observe()
    for tensor in model.graph.initializer:
        if tensor.name == "failing":
            tensor.CopyFrom(known_graphs.constant("failing", 0.0))
    return model


def freezing_the_batch() -> ModelProto:
    """Gives outputs of the batch it was exported at, whatever comes in, as exporters have done."""
    model = known_graphs.running_sum_observe()
    pit = next(node for node in model.graph.node if "pit" in node.output)
    pit.output[0] = "free_pit"
    first = [
        known_graphs.node("Slice", "free_pit at at1 axis0", "pit"),
        helper.make_node("Constant", [], ["at"], value_ints=[0]),
        helper.make_node("Constant", [], ["at1"], value_ints=[1]),
        helper.make_node("Constant", [], ["axis0"], value_ints=[0]),
    ]
    model.graph.node.extend([*first[1:], first[0]])
    return model


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (without_an_output, "observe.onnx outputs: the manifest names .*'pit'.*, the graph has"),
        (
            of_other_width,
            r"observe.onnx inputs: target: the manifest says tensor\(float\) \(B, T\), the graph .*\(B, 24\)",
        ),
        (failing_always, "a real step failed: observe.onnx: .*Gather"),
        (freezing_the_batch, r"'observe': pit: promises \(2, 2\) for batch 2 and 2 steps, gave \(1, 2\)"),
    ],
)
def test_a_graph_other_than_described_is_refused(tmp_path: Path, build: Callable[[], ModelProto], message: str) -> None:
    folder = known_models.running_sum(tmp_path)
    known_models.replace_graph(folder, "observe", build())
    with pytest.raises(ManifestError, match=message):
        Model.load(folder, CPU)


def test_a_vocabulary_of_another_size_is_refused(tmp_path: Path) -> None:
    folder = known_models.next_token(tmp_path, predicts=False)
    known_models.change_manifest(folder, "text", "vocabulary_size", to=30)
    assert refused(folder) == "tokenizer.json: the manifest says 30 tokens, the file has 28"
