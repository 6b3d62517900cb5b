"""Rows moved within a device's memory by their numbers: gathered for a run, scattered back after it.

Two tiny graphs run through IOBinding, so that whatever provider runs the models moves their rows.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from threading import RLock
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime import OrtValue

from service.errors import StepFailed
from service.models.device import Device

Rows = NDArray[np.float32]
Places = Sequence[int] | NDArray[np.intp]

_FATAL_ONLY = 4

# rows = table[places], and changed = table with table[places] = rows[which]. Held to the same graphs built with
# onnx.helper by tests/service/models/test_device_rows.py.
GATHER_GRAPH = base64.b64decode(
    "CAoSBnVucm9sbDqAAQoqCgV0YWJsZQoGcGxhY2VzEgRyb3dzIgZHYXRoZXIqCwoEYXhpcxgAoAECEgZnYXRoZXJaGQoFdGFibGUSEAoOCAESCg"
    "oDEgFOCgMSAVNaFQoGcGxhY2VzEgsKCQgHEgUKAxIBQmIYCgRyb3dzEhAKDggBEgoKAxIBQgoDEgFTQgQKABAU"
)
SCATTER_GRAPH = base64.b64decode(
    "CAoSBnVucm9sbDqVAgoqCgRyb3dzCgV3aGljaBIGY2hvc2VuIgZHYXRoZXIqCwoEYXhpcxgAoAECCiIKBnBsYWNlcwoEbGFzdBIHaW5kaWNlcy"
    "IJVW5zcXVlZXplCiwKBXRhYmxlCgdpbmRpY2VzCgZjaG9zZW4SB2NoYW5nZWQiCVNjYXR0ZXJORBIHc2NhdHRlcioNCAEQBzoBAUIEbGFzdFoZ"
    "CgV0YWJsZRIQCg4IARIKCgMSAU4KAxIBU1oYCgRyb3dzEhAKDggBEgoKAxIBQgoDEgFTWhQKBXdoaWNoEgsKCQgHEgUKAxIBQ1oVCgZwbGFjZX"
    "MSCwoJCAcSBQoDEgFDYhsKB2NoYW5nZWQSEAoOCAESCgoDEgFOCgMSAVNCBAoAEBQ="
)


def device_rows(count: int, width: int, device: Device) -> OrtValue:
    """Memory for `count` rows of `width` float32 values on the device; what lies in it is undefined.

    Raises:
        StepFailed: the device has not so much memory left.
    """
    try:
        return OrtValue.ortvalue_from_shape_and_type([count, width], np.float32, device.name, 0)
    except Exception as error:  # onnxruntime's exceptions share no base class
        size = count * width * 4 / 2**20
        raise StepFailed(
            f"{count} rows ({size:.0f} MiB) do not fit on the device: keep fewer sessions there"
        ) from error


class RowMover:
    """Moves rows between tensors (n, S) on one device, and between them and the host. Threads may share it."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._lock = RLock()
        self._gather = _Mover(GATHER_GRAPH, device)
        self._scatter = _Mover(SCATTER_GRAPH, device)
        self.in_place = True
        """Whether a scatter changes the tensor itself. Nothing promises it of onnxruntime, so it is tried first."""
        self.in_place = self._scatters_in_place()

    def gather(self, source: OrtValue, places: Places, into: OrtValue) -> None:
        """Let `into` (n, S) hold the rows of `source` at these n places."""
        with self._lock, self.device.guard:
            self._gather.bind(table=source, places=_numbers(places))
            self._gather.binding.bind_ortvalue_output("rows", into)
            self._gather.run()

    def take(self, source: OrtValue, places: Places) -> Rows:
        """A copy on the host of the rows of `source` at these places; nothing else is transferred."""
        with self._lock, self.device.guard:
            self._gather.bind(table=source, places=_numbers(places))
            self._gather.binding.bind_output("rows", "cpu")
            self._gather.run()
            (rows,) = self._gather.binding.copy_outputs_to_cpu()
            return np.asarray(rows)

    def scatter(self, source: OrtValue | Rows, which: Places, target: OrtValue, places: Places) -> None:
        """Let `target` hold the rows `which` of `source` at these places; its other rows stay as they are.

        The cost does not grow with the size of `target`, as long as it is changed in place.
        """
        if len(places) == 0:
            return
        with self._lock, self.device.guard:
            self._scatter.bind(table=target, rows=source, which=_numbers(which), places=_numbers(places))
            count, width = target.shape()
            changed = target if self.in_place else device_rows(count, width, self.device)
            self._scatter.binding.bind_ortvalue_output("changed", changed)
            self._scatter.run()
            if not self.in_place:
                target.update_inplace(changed)

    def _scatters_in_place(self) -> bool:
        before = np.arange(12, dtype=np.float32).reshape(4, 3)
        after = before.copy()
        after[[3, 0]] = -before[[1, 2]]
        target = device_rows(4, 3, self.device)
        target.update_inplace(before)
        self.scatter(-before, [1, 2], target, [3, 0])
        return bool(np.array_equal(target.numpy(), after))


class _Mover:
    """One of the two graphs and its binding."""

    def __init__(self, graph: bytes, device: Device) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = _FATAL_ONLY
        self._session = onnxruntime.InferenceSession(graph, options, providers=device.providers)
        self._session.disable_fallback()
        self.binding = self._session.io_binding()

    def bind(self, **inputs: Any) -> None:
        for name, value in inputs.items():
            if isinstance(value, OrtValue):
                self.binding.bind_ortvalue_input(name, value)
            else:
                self.binding.bind_cpu_input(name, value)

    def run(self) -> None:
        try:
            self._session.run_with_iobinding(self.binding)
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise StepFailed("state rows could not be moved on the device") from error


def _numbers(places: Places) -> NDArray[np.int64]:
    return np.ascontiguousarray(places, np.int64)
