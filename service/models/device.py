"""Where graphs run: the CPU, or CUDA where it truly loads. Chosen once per process, and by size for each model.

A machine without a GPU must print nothing, so the driver library is looked for before onnxruntime is asked for
CUDA; and a session may be created where cuDNN is absent and fail at its first step, so one real step decides.
"""

from __future__ import annotations

import base64
import ctypes
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from threading import RLock
from typing import Any, Literal

import numpy as np
import onnxruntime

DeviceName = Literal["cpu", "cuda"]

_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_ERRORS_ONLY, _FATAL_ONLY = 3, 4
_DRIVER_LIBRARIES = ("libcuda.so.1", "nvcuda.dll")

# A GRU of one unit as an ONNX file: it needs cuDNN and cuBLAS, as the models do. tests/service/models/test_device.py
# builds the same bytes with onnx.helper.
PROBE_GRAPH = base64.b64decode(
    "CAoSBnVucm9sbDreAQpECgF4CgF3CgFyCgFiEgF5IgNHUlUqEgoLaGlkZGVuX3NpemUYAaABAioaChNsaW5lYXJfYmVmb3JlX3Jl"
    "c2V0GAGgAQISBXByb2JlKhkIAQgDCAEQASIMAACAPwAAgD8AAIA/QgF3KhkIAQgDCAEQASIMAACAPwAAgD8AAIA/QgFyKiMIAQgG"
    "EAEiGAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEIBYloXCgF4EhIKEAgBEgwKAggBCgIIAQoCCAFiGwoBeRIWChQIARIQCgIIAQoC"
    "CAEKAggBCgIIAUIECgAQFA=="
)


class DeviceUnavailable(RuntimeError):
    """The device asked for cannot be used on this machine; the message says why."""


@dataclass(frozen=True)
class Device:
    """One kind of processor, and what is asked of it.

    Args:
        cuda_graphs: capture runs as CUDA graphs where that gives the same bits.
        cuda_from_bytes: models with fewer bytes of weights run on the CPU all the same.
        guard: held while the device is used, where one use can disturb another.
    """

    name: DeviceName
    cuda_graphs: bool = False
    cuda_from_bytes: int = 0
    guard: AbstractContextManager[Any] = field(default_factory=nullcontext, compare=False, repr=False)

    @property
    def provider(self) -> str:
        """The execution provider that must be in use."""
        return _CUDA if self.name == "cuda" else _CPU

    @property
    def providers(self) -> list[Any]:
        """onnxruntime's execution providers, preferred first. TF32 off: float32 results are promised to be float32."""
        return self._providers()

    @property
    def capturing_providers(self) -> list[Any]:
        """The same, with CUDA graphs."""
        return self._providers(enable_cuda_graph="1")

    def for_weights(self, count: int) -> Device:
        """Where a model with so many bytes of weights runs: here, or on the CPU where it is too small to gain."""
        return Device("cpu") if self.name == "cuda" and count < self.cuda_from_bytes else self

    def _providers(self, **options: str) -> list[Any]:
        if self.name == "cpu":
            return [_CPU]
        return [(_CUDA, {"device_id": "0", "use_tf32": "0", **options}), _CPU]


def choose_device(
    wanted: Literal["auto", "cpu", "cuda"] = "auto",
    *,
    cuda_graphs: bool = False,
    cuda_from_bytes: int = 0,
) -> Device:
    """The device to run on: the one named, or for `auto` CUDA where it loads and the model is large enough.

    Which of the two a model gets depends on its size alone, so that its answers are the same bits after a restart.

    Raises:
        DeviceUnavailable: `cuda` was named and cannot be used here.
    """
    if wanted == "cpu":
        return Device("cpu")
    obstacle = why_cuda_cannot_load()
    if obstacle is not None:
        if wanted == "cuda":
            raise DeviceUnavailable(f"device: expected to load CUDA as asked, but {obstacle}; use auto or cpu")
        return Device("cpu")
    # While a CUDA graph is captured, a call of another thread that takes memory would end the capture, or fail.
    guard: AbstractContextManager[Any] = RLock() if cuda_graphs else nullcontext()
    return Device("cuda", cuda_graphs, cuda_from_bytes if wanted == "auto" else 0, guard)


def why_cuda_cannot_load() -> str | None:
    """What keeps CUDA from running a real step here, or None where it runs."""
    if _CUDA not in onnxruntime.get_available_providers():
        return f"onnxruntime {onnxruntime.__version__} was built without CUDA"
    if not any(_loads(name) for name in _DRIVER_LIBRARIES):
        return "no NVIDIA driver library can be loaded"
    # Silent meanwhile: what goes wrong is returned, not printed.
    onnxruntime.set_default_logger_severity(_FATAL_ONLY)
    try:
        onnxruntime.preload_dlls()  # CUDA and cuDNN from pip's nvidia-* packages, where those are installed
        _run_probe()
    except Exception as error:  # onnxruntime's exceptions share no base class
        return f"a real step on it failed: {error}"
    finally:
        onnxruntime.set_default_logger_severity(_ERRORS_ONLY)
    return None


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _run_probe() -> None:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    session = onnxruntime.InferenceSession(PROBE_GRAPH, options, providers=[Device("cuda").providers[0]])
    if _CUDA not in session.get_providers():
        raise RuntimeError("onnxruntime fell back to another provider")
    session.run(None, {"x": np.zeros((1, 1, 1), np.float32)})
