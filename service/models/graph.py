"""One ONNX graph on one device: knows names and arrays, and remembers nothing between two runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from service.contract.manifest import GraphReference, ManifestError, Tensor
from service.errors import InputMismatch, StepFailed
from service.models.device import Device

log = logging.getLogger(__name__)

Array = NDArray[Any]

_FATAL_ONLY = 4
_SHAPES_KNOWN = 1024
_ONNX_TYPES = {"float32": "tensor(float)", "int64": "tensor(int64)"}


class Graph:
    """A pure function from named arrays to named arrays; safe to call from several threads."""

    def __init__(
        self, content: bytes, reference: GraphReference, weights: Mapping[str, bytes], device: Device, threads: int = 1
    ) -> None:
        """Load the graph and check that it takes and gives what the manifest says.

        Args:
            content: the ONNX file.
            reference: what the manifest says of it.
            weights: the files its tensors may lie in, by name. Given as bytes, because onnxruntime maps files: one
                truncated later would end the process, one overwritten would change the answers.

        Raises:
            ManifestError: onnxruntime cannot load it, or its names, dtypes or shapes differ from `reference`.
        """
        self.reference = reference
        self.device = device
        self.captures = device.cuda_graphs
        """Whether runs may be captured as CUDA graphs."""
        self.any_thread = device.name == "cpu"
        """Whether prepared runs may be made now on one thread and now on another, one at a time."""
        options = _session_options(weights, threads)
        try:
            self.session = self._load(content, options)
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise ManifestError(f"{reference.file}: onnxruntime cannot load it: {error}") from error
        self.eager_options: onnxruntime.RunOptions | None = None
        """What a run that captures nothing is told where others are captured."""
        if self.captures:
            self.eager_options = onnxruntime.RunOptions()
            self.eager_options.add_run_config_entry("gpu_graph_id", "-1")
        # Otherwise a failed run would print, switch the provider and run again.
        self.session.disable_fallback()
        if self.session.get_providers()[0] != device.provider:
            raise ManifestError(f"{reference.file}: expected to run on {device.provider}, onnxruntime could not use it")
        _check_tensors(f"{reference.file} inputs", reference.inputs, self.session.get_inputs())
        _check_tensors(f"{reference.file} outputs", reference.outputs, self.session.get_outputs())
        self._expected = {tensor.name: (np.dtype(tensor.dtype), tensor.shape) for tensor in reference.inputs}
        self._input_names = list(self._expected)
        self._output_names = [tensor.name for tensor in reference.outputs]
        self._fitting: set[tuple[tuple[np.dtype[Any], tuple[int, ...]], ...]] = set()

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run the graph once; returns one new array per output.

        Args:
            inputs: one array per input of the manifest, with its dtype and shape; B and T at least 1 and alike in all.

        Raises:
            InputMismatch: a name, dtype or shape differs from the manifest; nothing was run.
            StepFailed: onnxruntime failed.
        """
        self._check(inputs)
        try:
            with self.device.guard:
                outputs = self.session.run(self._output_names, dict(inputs), self.eager_options)
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise self._failure() from error
        return dict(zip(self._output_names, outputs, strict=True))

    def execute(self, binding: onnxruntime.IOBinding, options: onnxruntime.RunOptions | None = None) -> None:
        """Run the graph once on what is bound; several threads may, each with a binding of its own.

        Raises:
            StepFailed: onnxruntime failed.
        """
        try:
            self.session.run_with_iobinding(binding, options)
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise self._failure() from error

    def _load(self, content: bytes, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
        with self.device.guard:
            if self.captures:
                try:
                    return onnxruntime.InferenceSession(content, options, providers=self.device.capturing_providers)
                except Exception as error:  # a graph with control flow, or with an operator that runs on the CPU
                    log.info("%s runs without CUDA graphs: %s", self.reference.file, error)
                    self.captures = False
            return onnxruntime.InferenceSession(content, options, providers=self.device.providers)

    def _failure(self) -> StepFailed:
        """What onnxruntime says is for our log, not for a client: it is kept as the cause."""
        return StepFailed(f"{self.reference.file}: onnxruntime failed to run it")

    def _check(self, inputs: Mapping[str, Array]) -> None:
        """Refuse inputs that do not fit; shapes and dtypes that did once are known from then on."""
        try:
            found = tuple([(inputs[name].dtype, inputs[name].shape) for name in self._input_names])
        except KeyError:
            found = ()
        if found in self._fitting and len(inputs) == len(found):
            return
        self._check_each(inputs)
        if len(self._fitting) >= _SHAPES_KNOWN:
            self._fitting.clear()
        self._fitting.add(found)

    def _check_each(self, inputs: Mapping[str, Array]) -> None:
        if inputs.keys() != self._expected.keys():
            raise InputMismatch(
                f"{self.reference.file}: expected inputs {sorted(self._expected)}, got {sorted(inputs)}"
            )
        extents: dict[str, int] = {}
        for name, (dtype, shape) in self._expected.items():
            array = inputs[name]
            if array.dtype != dtype or not _fits(array.shape, shape, extents):
                raise InputMismatch(
                    f"{name}: expected {_words(shape, extents)} {dtype}, got {_words(array.shape)} {array.dtype}",
                    parameter=name,
                )


def sizes(tensor: Tensor, batch: int, steps: int) -> tuple[int, ...]:
    """The tensor's shape with numbers in place of B and T."""
    return tuple(e if isinstance(e, int) else {"B": batch, "T": steps}[e] for e in tensor.shape)


def _session_options(weights: Mapping[str, bytes], threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    # A failed run is told by its exception; the service alone decides what is logged.
    options.log_severity_level = _FATAL_ONLY
    # A spinning pool burns whole cores between two steps and wins nothing on steps this short.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_external_initializers_from_files_in_memory(
        list(weights), list(weights.values()), [len(content) for content in weights.values()]
    )
    return options


def _fits(actual: tuple[int, ...], expected: tuple[int | str, ...], extents: dict[str, int]) -> bool:
    """Whether a shape fits; `extents` keeps what B and T stood for, so that all inputs agree."""
    if len(actual) != len(expected):
        return False
    for extent, wanted in zip(actual, expected, strict=True):
        if extent < 1 or extent != (wanted if isinstance(wanted, int) else extents.setdefault(wanted, extent)):
            return False
    return True


def _words(shape: Sequence[int | str | None], extents: Mapping[str, int] | None = None) -> str:
    """A shape as a reader would write it: (B=2, T, 7)."""
    known = extents or {}
    return "(" + ", ".join(f"{e}={known[e]}" if isinstance(e, str) and e in known else str(e) for e in shape) + ")"


def _check_tensors(where: str, expected: tuple[Tensor, ...], reported: list[Any]) -> None:
    """Compare the manifest's tensors with the graph's own."""
    found = {node.name: node for node in reported}
    names = {tensor.name for tensor in expected}
    if names != found.keys():
        raise ManifestError(f"{where}: the manifest names {sorted(names)}, the graph has {sorted(found)}")
    for tensor in expected:
        node = found[tensor.name]
        if node.type != _ONNX_TYPES[tensor.dtype] or not _is_as_free(node.shape, tensor.shape):
            manifest = f"{_ONNX_TYPES[tensor.dtype]} {_words(tensor.shape)}"
            raise ManifestError(
                f"{where}: {tensor.name}: the manifest says {manifest}, the graph {node.type} {_words(node.shape)}"
            )


def _is_as_free(reported: list[int | str | None], expected: tuple[int | str, ...]) -> bool:
    """Whether B and T are free in the graph (of whatever name there) and every other extent is the same number."""
    if len(reported) != len(expected):
        return False
    return all(
        got == wanted if isinstance(wanted, int) else not isinstance(got, int)
        for got, wanted in zip(reported, expected, strict=True)
    )
