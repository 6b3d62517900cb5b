"""Runs exported graphs through onnxruntime, on the CPU in one thread, as the service will: the reference for both.

Batches smaller than the model's minimum are filled up with copies of the last row, and cut again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from service.contract.manifest import GraphName, TaskName, graphs_of, optional_graphs_of

LEVELS = "levels"
"""Key of the graphs' metadata that names the quantile levels of a direct forecast."""

MOST_WINDOWS = 4096
"""Windows that a direct model reads in one run, one per value that it takes in: each is a copy of its context."""

Array = NDArray[np.float32]
Tokens = NDArray[np.int64]
Named = dict[str, NDArray[Any]]


class ExportedGraphs:
    """The graphs of a model folder."""

    task: TaskName

    def __init__(self, folder: Path) -> None:
        there = [name for name in optional_graphs_of(self.task) if (folder / f"{name}.onnx").exists()]
        self._sessions = {name: _session(folder / f"{name}.onnx") for name in (*graphs_of(self.task), *there)}
        self.metadata: dict[str, str] = self._sessions["observe"].get_modelmeta().custom_metadata_map
        self.minimum_batch = int(self.metadata["minimum_batch"])

    def run(self, graph: GraphName, inputs: Mapping[str, NDArray[Any] | None]) -> Named:
        """Outputs by name; inputs that are None are left out.

        Raises:
            ValueError: the graph takes other inputs than were given.
        """
        session = self._sessions[graph]
        given = {name: array for name, array in inputs.items() if array is not None}
        expected = sorted(value.name for value in session.get_inputs())
        if sorted(given) != expected:
            raise ValueError(f"{graph}: expected the inputs {expected}, got {sorted(given)}")
        batch = len(next(iter(given.values()))) if given else 1
        filler = max(self.minimum_batch - batch, 0) if given else 0
        padded = {name: np.concatenate([array, *[array[-1:]] * filler]) for name, array in given.items()}
        names = [value.name for value in session.get_outputs()]
        return {name: array[:batch] for name, array in zip(names, session.run(names, padded), strict=True)}


class ExportedForecaster(ExportedGraphs):
    """A published forecaster, or one about to be; rows (B, S) are its state."""

    task: TaskName = "forecast"

    @property
    def prediction_length(self) -> int | None:
        """P: steps that the graph `forecast` tells at once; None of a model that has no such graph."""
        if "forecast" not in self._sessions:
            return None
        return int(self._sessions["forecast"].get_outputs()[0].shape[1])

    @property
    def can_prefill(self) -> bool:
        """Whether the model has the graph `prefill`."""
        return "prefill" in self._sessions

    @property
    def levels(self) -> tuple[float, ...]:
        """Of the quantiles that `forecast` tells; none of a model that has no such graph."""
        return tuple(float(level) for level in self.metadata.get(LEVELS, "").split(",") if level)

    def initial(self, static: Array | None = None, batch: int = 1) -> Array:
        """Rows of series that have seen nothing: one per row of static (B, D_in), or `batch` where there is none."""
        if static is not None:
            return _row_array(self.run("initial", {"static": np.asarray(static, np.float32)})["state"])
        return np.repeat(_row_array(self.run("initial", {})["state"]), batch, axis=0)

    def observe(
        self, rows: Array, target: Array, calendar: Array | None = None, covariates: Array | None = None
    ) -> tuple[Array, Array, Array]:
        """Take in target (B, T): quantiles (B, T, Q) foretold for each value, its pit (B, T), and the next rows."""
        timed = {"target": target, "calendar": calendar, "covariates": covariates}
        steps = target.shape[1] if self.prediction_length is None else max(MOST_WINDOWS // len(target), 1)
        found = []
        for begin in range(0, target.shape[1], steps):
            part = {name: None if a is None else a[:, begin : begin + steps] for name, a in timed.items()}
            inputs = {"state": rows, **part}
            found.append(self.run("observe", {name: _float(array) for name, array in inputs.items()}))
            rows = found[-1]["next_state"]
        quantiles, pit = (np.concatenate([one[name] for one in found], axis=1) for name in ("quantiles", "pit"))
        return quantiles, pit, rows

    def prefill(self, rows: Array, target: Array, calendar: Array | None = None) -> Array:
        """The rows after target (B, T) as forecasts need them, of a model that can do without predicting it."""
        inputs = {"state": rows, "target": target, "calendar": calendar}
        return _row_array(self.run("prefill", {name: _float(array) for name, array in inputs.items()})["next_state"])

    def generate(
        self, rows: Array, uniforms: Array, calendar: Array | None = None, covariates: Array | None = None
    ) -> tuple[Array, Array]:
        """Draw one value per uniform (B, T), each fed back: samples (B, T) and the next rows."""
        inputs = {"state": rows, "uniforms": uniforms, "calendar": calendar, "covariates": covariates}
        found = self.run("generate", {name: _float(array) for name, array in inputs.items()})
        return found["samples"], found["next_state"]

    def forecast(self, rows: Array, calendar: Array | None = None) -> Array:
        """Quantiles (B, P, Q) of the next P values, of a model that tells them at once; calendar (B, P, C) of them."""
        found = self.run("forecast", {"state": _float(rows), "calendar": _float(calendar)})
        return _row_array(found["quantiles"])


class ExportedTextGenerator(ExportedGraphs):
    """A published text generator, or one about to be; rows (B, S) are its state."""

    task: TaskName = "text"

    @property
    def unknown_token(self) -> int | None:
        """The token that is never drawn, if there is one."""
        token = self.metadata.get("unknown_token")
        return None if token is None else int(token)

    def initial(self, batch: int = 1) -> Array:
        """Rows that have seen nothing."""
        return np.repeat(_row_array(self.run("initial", {})["state"]), batch, axis=0)

    def observe(self, rows: Array, tokens: Tokens) -> tuple[Array, Array]:
        """Take in tokens (B, T): the log-probability of each, and the next rows."""
        found = self.run("observe", {"state": _float(rows), "tokens": np.asarray(tokens, np.int64)})
        return found["log_probabilities"], found["next_state"]

    def predict(self, rows: Array, tokens: Tokens) -> tuple[Array, Array]:
        """As `observe`, with the logits (B, T, V) of all tokens in place of each of them."""
        found = self.run("predict", {"state": _float(rows), "tokens": np.asarray(tokens, np.int64)})
        return found["logits"], found["next_state"]

    def generate(
        self, rows: Array, uniforms: Array, temperature: Array | float = 1.0, top_p: Array | float = 1.0
    ) -> tuple[Tokens, Array, Array]:
        """Draw one token per uniform (B, T), each fed back: tokens, their log-probabilities, and the next rows."""
        batch = len(rows)
        controls = {"temperature": temperature, "top_p": top_p}
        inputs = {name: np.broadcast_to(np.asarray(value, np.float32), batch) for name, value in controls.items()}
        found = self.run("generate", {"state": _float(rows), "uniforms": _float(uniforms), **inputs})
        return found["tokens"], found["log_probabilities"], found["next_state"]


class ExportedClassifier(ExportedGraphs):
    """A published classifier, or one about to be; rows (B, S) are its state."""

    task: TaskName = "classify"

    def initial(self, batch: int = 1) -> Array:
        """Rows that have seen nothing."""
        return np.repeat(_row_array(self.run("initial", {})["state"]), batch, axis=0)

    def observe(self, rows: Array, tokens: Tokens) -> tuple[Array, Array]:
        """Take in tokens (B, T): probabilities (B, T, C) of the classes after each, and the next rows."""
        found = self.run("observe", {"state": _float(rows), "tokens": np.asarray(tokens, np.int64)})
        return found["probabilities"], found["next_state"]


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _float(array: Array | None) -> Array | None:
    return None if array is None else np.asarray(array, np.float32)


def _row_array(array: NDArray[Any]) -> Array:
    return np.asarray(array, np.float32)
