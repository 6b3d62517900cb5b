"""Runs of a graph on device memory: rows stay there, only inputs go in and outputs come out.

Everything is bound once for each batch size and length, and batches are padded to a few sizes so that there are few
to bind. All of it goes through IOBinding and `OrtValue`, and runs on the CPU provider just so, where the tests run it.
"""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime import OrtValue

from service.contract.manifest import Tensor
from service.errors import StepFailed
from service.models.device_rows import RowMover, device_rows
from service.models.graph import Array, Graph, sizes
from service.models.graph_run import GraphRun, Rows, Which

log = logging.getLogger(__name__)

_DOUBLED_UP_TO = 256
_CAPTURED_AHEAD = tuple(2**power for power in range(9))
"""Batches of single steps whose CUDA graphs are there before the first step; others are captured when first needed."""
_CAPTURING_RUNS = 3
"""onnxruntime warms up twice before it captures, in runs of its own or of ours."""


def padded_batch(batch: int) -> int:
    """The size a batch is padded to: powers of two up to 256, then multiples of 256."""
    if batch <= _DOUBLED_UP_TO:
        return 1 << (batch - 1).bit_length()
    return -(-batch // _DOUBLED_UP_TO) * _DOUBLED_UP_TO


class DeviceRuns:
    """The prepared runs of one graph on its device, for one thread, which is the thread that makes them.

    Args:
        mover: moves the rows.
        minimum_batch: smaller batches are padded to this, where a model is exact only from some size on.
        chained: take T steps as T runs of one step, each from where the last one left the rows on the device. On
            CUDA the `Scan` in `generate` is driven from the host anyway, and refuses graph capture.
    """

    def __init__(self, graph: Graph, mover: RowMover, minimum_batch: int = 1, *, chained: bool = False) -> None:
        self._graph = graph
        self._mover = mover
        self._minimum_batch = minimum_batch
        self._chained = chained
        self._prepared: dict[tuple[int, int], _Prepared] = {}
        if graph.captures and not chained:
            for batch in _CAPTURED_AHEAD:
                self.of(batch, 1)

    def of(self, batch: int, steps: int) -> DeviceRun:
        """The run for B rows and T steps; its buffers are made, and its CUDA graph captured, at its first use."""
        padded = padded_batch(max(batch, self._minimum_batch))
        prepared = self._prepared.get((padded, steps))
        if prepared is None:
            # Captured graphs are told apart by a number of their own each.
            prepared = _Prepared(self._graph, padded, steps, self._chained, capture_id=len(self._prepared) + 1)
            self._prepared[padded, steps] = prepared
        return DeviceRun(prepared, self._mover, batch)


class DeviceRun(GraphRun):
    """The first `batch` rows of a prepared run."""

    def __init__(self, prepared: _Prepared, mover: RowMover, batch: int) -> None:
        self.batch, self.steps = batch, prepared.steps
        self.inputs = {name: array[:batch] for name, array in prepared.inputs.items()}
        self._prepared = prepared
        self._mover = mover

    def gather_rows(self, table: OrtValue, slots: np.ndarray[Any, np.dtype[np.intp]]) -> None:
        """Let the rows (B, S) of a table on the same device be the state."""
        padding = np.full(self._prepared.batch - self.batch, slots[-1])
        self._mover.gather(table, np.concatenate([slots, padding]), self._prepared.state)

    def scatter_rows(self, which: Which, table: OrtValue, slots: np.ndarray[Any, np.dtype[np.intp]]) -> None:
        """Store rows after the last step in a table on the same device."""
        self._mover.scatter(self._prepared.next_state, self._places(which), table, slots)

    def set_rows(self, which: Which, rows: Rows) -> None:
        self._mover.scatter(rows, range(len(rows)), self._prepared.state, self._places(which))

    def run(self) -> dict[str, Array]:
        return self._prepared.run(self.batch)

    def next_rows(self, which: Which = slice(None)) -> Rows:
        return self._mover.take(self._prepared.next_state, self._places(which))

    def _places(self, which: Which) -> np.ndarray[Any, np.dtype[np.intp]]:
        return np.arange(self.batch)[which]


class _Prepared:
    """Buffers and bindings for one padded batch size and length."""

    def __init__(self, graph: Graph, batch: int, steps: int, chained: bool, capture_id: int) -> None:
        self.batch, self.steps = batch, steps
        self._graph = graph
        self._gives_rows = any(tensor.name == "next_state" for tensor in graph.reference.outputs)
        self._chained = chained and steps > 1
        width = next(tensor.shape[1] for tensor in graph.reference.inputs if tensor.name == "state")
        assert isinstance(width, int), "a state row has a fixed width"
        self.state, self.next_state = (device_rows(batch, width, graph.device) for _ in range(2))
        # Padding is computed with whatever is there: a row may hold a token, which must be one.
        self.state.update_inplace(np.zeros((batch, width), np.float32))
        given = [tensor for tensor in graph.reference.inputs if tensor.name != "state"]
        self._staged = {tensor.name: np.zeros(self._layout(tensor), np.dtype(tensor.dtype)) for tensor in given}
        self._taken = {tensor.name: self._on_device(tensor) for tensor in given}
        answered = [tensor for tensor in graph.reference.outputs if tensor.name != "next_state"]
        self._given = {tensor.name: self._on_device(tensor) for tensor in answered}
        self._timed = {tensor.name for tensor in (*given, *answered) if "T" in tensor.shape}
        self.inputs = {name: self._batch_first(name, array) for name, array in self._staged.items()}
        self._bindings = [self._bound(step) for step in range(steps if self._chained else 1)]
        if self._chained and steps % 2 == 0:
            self.next_state = self.state  # with two buffers in turns, an even number of steps ends where it began
        self._options = graph.eager_options
        if graph.captures and not self._chained:
            self._capture(capture_id)

    def run(self, batch: int) -> dict[str, Array]:
        """Take the inputs over, run, and fetch the first `batch` rows of the outputs."""
        for array in self.inputs.values():
            array[batch:] = array[batch - 1]
        with self._graph.device.guard:
            for name, staged in self._staged.items():
                self._taken[name].update_inplace(staged)
            for binding in self._bindings:
                self._graph.execute(binding, self._options)
            return {name: self._fetched(name)[:batch] for name in self._given}

    def _fetched(self, name: str) -> Array:
        """A copy on the host; what onnxruntime gives may be a view of its own memory."""
        return np.array(self._batch_first(name, self._given[name].numpy()), order="C")

    def _layout(self, tensor: Tensor) -> tuple[int, ...]:
        """The shape a tensor is kept in: steps first in a chain, so that the part of each step lies by itself."""
        shape = sizes(tensor, self.batch, self.steps)
        return (shape[1], shape[0], *shape[2:]) if self._chained and "T" in tensor.shape else shape

    def _batch_first(self, name: str, array: Array) -> Array:
        return array.swapaxes(0, 1) if self._chained and name in self._timed else array

    def _on_device(self, tensor: Tensor) -> OrtValue:
        shape, dtype = self._layout(tensor), np.dtype(tensor.dtype).type
        return OrtValue.ortvalue_from_shape_and_type(shape, dtype, self._graph.device.name, 0)

    def _bound(self, step: int) -> onnxruntime.IOBinding:
        """One run of the graph; in a chain its own step of it, with the two row buffers in turns."""
        binding = self._graph.session.io_binding()
        before, after = (self.state, self.next_state) if step % 2 == 0 else (self.next_state, self.state)
        binding.bind_ortvalue_input("state", before)
        if self._gives_rows:
            binding.bind_ortvalue_output("next_state", after)
        if not self._chained:
            for name, value in self._taken.items():
                binding.bind_ortvalue_input(name, value)
            for name, value in self._given.items():
                binding.bind_ortvalue_output(name, value)
            return binding
        for bind, tensors, values in (
            (binding.bind_input, self._graph.reference.inputs, self._taken),
            (binding.bind_output, self._graph.reference.outputs, self._given),
        ):
            for tensor in tensors:
                if tensor.name in values:
                    dtype, shape = np.dtype(tensor.dtype), sizes(tensor, self.batch, 1)
                    offset = step * math.prod(shape) * dtype.itemsize if tensor.name in self._timed else 0
                    address = values[tensor.name].data_ptr() + offset
                    bind(tensor.name, self._graph.device.name, 0, dtype.type, shape, address)
        return binding

    def _capture(self, capture_id: int) -> None:
        """Capture a CUDA graph on rows of zeros, and keep it if it gives the same bits as running without one.

        Nobody's state is in reach: one run of ours may be several of the graph (onnxruntime warms up by itself).
        """
        eager = self._everything()
        captured = onnxruntime.RunOptions()
        captured.add_run_config_entry("gpu_graph_id", str(capture_id))
        self._options = captured
        try:
            alike = all(self._everything() == eager for _ in range(_CAPTURING_RUNS + 1))
            reason = "its answers differ from those without it"
        except StepFailed as error:
            alike, reason = False, str(error.__cause__)
        if not alike:
            self._options = self._graph.eager_options
            log.warning(
                "%s runs without a CUDA graph at batch %d and %d steps: %s",
                *(self._graph.reference.file, self.batch, self.steps, reason),
            )

    def _everything(self) -> list[bytes]:
        """All the bits that one run gives."""
        outputs = self.run(self.batch)
        return [*(array.tobytes() for array in outputs.values()), self.next_state.numpy().tobytes()]
