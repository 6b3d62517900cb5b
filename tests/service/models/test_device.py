"""Where graphs run: the CPU always, CUDA only where a real step on it succeeds; and nothing is printed without one."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from service.models import device
from service.models.device import Device, DeviceUnavailable, choose_device, why_cuda_cannot_load

HAS_CUDA = why_cuda_cannot_load() is None


def test_the_cpu_is_never_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "why_cuda_cannot_load", lambda: pytest.fail("asked for CUDA"))
    assert choose_device("cpu") == Device("cpu")


@pytest.mark.skipif(HAS_CUDA, reason="CUDA loads here")
def test_auto_is_the_cpu_where_cuda_does_not_load_and_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    assert choose_device("auto") == Device("cpu")
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(HAS_CUDA, reason="CUDA loads here")
def test_cuda_by_name_is_refused_with_the_reason() -> None:
    with pytest.raises(DeviceUnavailable, match="expected to load CUDA as asked, but .*; use auto or cpu"):
        choose_device("cuda")


@pytest.mark.skipif(not HAS_CUDA, reason="no CUDA here")
def test_auto_is_cuda_where_it_loads() -> None:
    assert (choose_device("auto").name, choose_device("cuda")) == ("cuda", Device("cuda"))


def test_a_driver_without_a_working_step_is_not_enough(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fails() -> None:
        raise RuntimeError("cuDNN is not available")

    monkeypatch.setattr(device, "_loads", lambda library: True)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)
    monkeypatch.setattr(device, "_run_probe", fails)
    assert choose_device("auto") == Device("cpu")
    assert capfd.readouterr() == ("", "")
    with pytest.raises(DeviceUnavailable, match="cuDNN is not available"):
        choose_device("cuda")


def test_a_working_step_chooses_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "why_cuda_cannot_load", lambda: None)
    assert (choose_device("auto").name, choose_device("cuda")) == ("cuda", Device("cuda"))


def test_auto_leaves_small_models_on_the_cpu_and_cuda_by_name_leaves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "why_cuda_cannot_load", lambda: None)
    auto, cuda = choose_device("auto", cuda_from_bytes=1000), choose_device("cuda", cuda_from_bytes=1000)
    assert [auto.for_weights(size).name for size in (0, 999, 1000)] == ["cpu", "cpu", "cuda"]
    assert [cuda.for_weights(size).name for size in (0, 999, 1000)] == ["cuda"] * 3
    assert choose_device("cpu").for_weights(10**9) == Device("cpu")


def test_uses_of_a_device_take_turns_only_where_graphs_are_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "why_cuda_cannot_load", lambda: None)
    assert not isinstance(choose_device("cuda", cuda_graphs=True).guard, nullcontext)
    assert isinstance(choose_device("cuda").guard, nullcontext)
    assert choose_device("cuda", cuda_graphs=True).capturing_providers[0][1]["enable_cuda_graph"] == "1"
    assert "enable_cuda_graph" not in choose_device("cuda", cuda_graphs=True).providers[0][1]


def test_cuda_runs_without_tf32_and_with_the_cpu_behind_it() -> None:
    (name, options), behind = Device("cuda").providers
    assert (name, options["use_tf32"], behind) == ("CUDAExecutionProvider", "0", "CPUExecutionProvider")


def test_the_probe_is_the_small_recurrent_graph_built_here() -> None:
    graph = helper.make_graph(
        [helper.make_node("GRU", ["x", "w", "r", "b"], ["y"], hidden_size=1, linear_before_reset=1)],
        "probe",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 1, 1])],
        [
            helper.make_tensor("w", TensorProto.FLOAT, [1, 3, 1], [1.0] * 3),
            helper.make_tensor("r", TensorProto.FLOAT, [1, 3, 1], [1.0] * 3),
            helper.make_tensor("b", TensorProto.FLOAT, [1, 6], [0.0] * 6),
        ],
    )
    opset = [helper.make_opsetid("", 20)]
    built = helper.make_model(graph, opset_imports=opset, ir_version=10, producer_name="unroll")
    assert onnx.load_model_from_string(device.PROBE_GRAPH) == built
    session = onnxruntime.InferenceSession(device.PROBE_GRAPH, providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {"x": np.ones((1, 1, 1), np.float32)})
    assert answer.shape == (1, 1, 1, 1)
