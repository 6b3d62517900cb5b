"""Runs of a graph with everything prepared: buffers, bindings and shapes, made once for each (batch, steps).

Measured with a two-layer LSTM-128 at batch 1 / 16 / 64: 22 / 75 / 239 µs prepared, 25 / 80 / 243 µs through
`InferenceSession.run`, 32 / 89 / 259 µs binding anew each time.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from service.contract.manifest import Tensor
from service.models.graph import Array, Graph, sizes

Rows = NDArray[np.float32]
Which = slice | Sequence[int] | NDArray[np.intp]
"""Which rows of a batch: anything that indexes axis 0 and keeps it."""

_SHAPES_KEPT = 1024


class GraphRun(ABC):
    """One graph at one batch size and length: fill `inputs` and the state rows, `run`, and read what it gave.

    Belongs to one thread. State rows are set and read by name of their place in the batch, so that they may lie on a
    device; everything else is host arrays.
    """

    batch: int
    steps: int
    inputs: dict[str, Array]
    """Where to write each input but `state`; what is there stays there until it is overwritten."""

    @abstractmethod
    def set_rows(self, which: Which, rows: Rows) -> None:
        """Let rows (n, S) of the host be the state of these places in the batch."""

    @abstractmethod
    def run(self) -> dict[str, Array]:
        """Run the graph; returns new arrays, one for each output but `next_state`.

        Raises:
            StepFailed: onnxruntime failed.
        """

    @abstractmethod
    def next_rows(self, which: Which = slice(None)) -> Rows:
        """A copy (n, S) of the rows after the last step, until another run is made."""


class HostRun(GraphRun):
    """A run whose state rows are host arrays too."""

    def __init__(
        self, graph: Graph, batch: int, steps: int, padded: int, buffer: Callable[[Tensor, tuple[int, ...]], Array]
    ) -> None:
        self.batch, self.steps = batch, steps
        self._graph = graph
        self._padded = batch < padded
        self._binding = graph.session.io_binding()
        self._inputs = {t.name: buffer(t, sizes(t, padded, steps)) for t in graph.reference.inputs}
        self._outputs = {t.name: buffer(t, sizes(t, padded, steps)) for t in graph.reference.outputs}
        for name, array in self._inputs.items():
            self._binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        for name, array in self._outputs.items():
            self._binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        self.inputs = {name: array[:batch] for name, array in self._inputs.items() if name != "state"}
        outputs = {name: array[:batch] for name, array in self._outputs.items()}
        self.state: Rows | None = self._inputs["state"][:batch] if "state" in self._inputs else None
        self.next_state: Rows | None = outputs.pop("next_state", None)
        self._given = list(outputs.items())

    def set_rows(self, which: Which, rows: Rows) -> None:
        assert self.state is not None, "this graph starts from no state"
        self.state[which] = rows

    def run(self) -> dict[str, Array]:
        if self._padded:
            for array in self._inputs.values():
                array[self.batch :] = array[self.batch - 1]
        self._graph.execute(self._binding)
        return {name: array.copy() for name, array in self._given}

    def next_rows(self, which: Which = slice(None)) -> Rows:
        assert self.next_state is not None, "this graph gives no next state"
        rows: Rows = self.next_state[which]
        return rows.copy() if isinstance(which, slice) else rows


class HostRuns:
    """The prepared runs of one graph, for one thread; all share the memory of the largest.

    So a run's buffers hold what was put in only until another of them is filled or run.

    Args:
        minimum_batch: smaller batches are padded with copies of their last row, where a model is exact only from
            some size on. Who fills `inputs` and reads what comes out sees nothing of it.
    """

    def __init__(self, graph: Graph, minimum_batch: int = 1) -> None:
        self._graph = graph
        self._minimum_batch = minimum_batch
        self._runs: OrderedDict[tuple[int, int], HostRun] = OrderedDict()
        self._memory: dict[str, Array] = {}

    def of(self, batch: int, steps: int) -> HostRun:
        """The run for B rows and T steps, made at its first use."""
        run = self._runs.get((batch, steps))
        if run is None:
            padded = max(batch, self._minimum_batch)
            run = self._runs[batch, steps] = HostRun(self._graph, batch, steps, padded, self._buffer)
            if len(self._runs) > _SHAPES_KEPT:
                self._runs.popitem(last=False)
        return run

    def _buffer(self, tensor: Tensor, shape: tuple[int, ...]) -> Array:
        """An array of this shape at the beginning of the tensor's memory, which grows where it must."""
        count = math.prod(shape)
        memory = self._memory.get(tensor.name)
        if memory is None or memory.size < count:
            # Runs made before keep the smaller memory alive, so they go; they are made again when needed.
            self._runs.clear()
            grown = count if memory is None else max(count, 2 * memory.size)
            memory = self._memory[tensor.name] = np.zeros(grown, np.dtype(tensor.dtype))
        return memory[:count].reshape(shape)
