"""A model as V2 sees it: the tensors a client sends and gets, without state and calendar, which the service keeps.

Every tensor has the batch on axis 0 and time on axis 1, both free.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from service.contract.manifest import Tensor
from service.errors import InputMismatch
from service.models.model import Model
from service.protocols.arrays import LARGEST
from service.protocols.inference_v2.core import TensorIn
from service.protocols.inference_v2.tensors import mismatch

FORECAST = "forecast_"
"""How the names of all outputs begin that look ahead."""
FORECAST_MEAN, FORECAST_MEDIAN, FORECAST_QUANTILES = "forecast_mean", "forecast_median", "forecast_quantiles"
"""Outputs (B, P), (B, P) and (B, P, Q) of a request that looks ahead."""
FORECAST_INTERVALS, FORECAST_SAMPLES = "forecast_intervals", "forecast_samples"
"""Outputs (B, P, levels, 2), lower and upper bounds, and (B, N, P), where asked for."""
FORECAST_AGGREGATES, FORECAST_AGGREGATE_MEANS = "forecast_aggregates", "forecast_aggregate_means"
"""Outputs (B, A, Q) and (B, A) of A aggregates over the steps, where asked for."""
EXPECTED, INTERVAL, ANOMALY_SCORE, ANOMALY = "expected", "interval", "anomaly_score", "anomaly"
"""Outputs (B, T), the interval's (B, T, 2), of any forecaster's request that names them."""
FUTURE_COVARIATES = "future_covariates"
"""The input (B, P, K) that looking ahead needs of a model with covariates."""

_DATATYPES = {"float32": "FP32", "int64": "INT64"}
_KEPT_BY_THE_SERVICE = frozenset({"state", "next_state", "calendar"})

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Described:
    """One input or output; −1 in the shape is any extent."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    optional: bool = False


@dataclass(frozen=True)
class Signature:
    """What a model takes and gives.

    Args:
        outputs: of every request; the forecast's come beside them where one is asked for.
        by_name: further ones, for requests that name them.
    """

    model: str
    inputs: tuple[Described, ...]
    outputs: tuple[Described, ...]
    forecasts: tuple[Described, ...]
    by_name: tuple[Described, ...] = ()

    def read(self, tensors: list[TensorIn]) -> Arrays:
        """The arrays by name, all of one batch B ≥ 1 and, but for the future's, of one length T ≥ 1.

        Raises:
            InputMismatch: an input is missing, unknown, given twice, or of another datatype or shape.
        """
        known = {described.name: described for described in self.inputs}
        arrays: Arrays = {}
        for tensor in tensors:
            if tensor.name not in known:
                raise mismatch(tensor.name, f"model {self.model} takes {_names(self.inputs)}")
            if tensor.name in arrays:
                raise mismatch(tensor.name, "expected each input once")
            arrays[tensor.name] = _checked(tensor, known[tensor.name])
        self._check_together(arrays)
        return arrays

    def _check_together(self, arrays: Arrays) -> None:
        first = self.inputs[0].name
        for described in self.inputs:
            if described.name not in arrays:
                if described.optional:
                    continue
                raise mismatch(described.name, f"expected it, got {', '.join(arrays) or 'none'}")
            shape, other = arrays[described.name].shape, arrays[first].shape
            if shape[0] != other[0] or (shape[1] != other[1] and described.name != FUTURE_COVARIATES):
                raise mismatch(
                    described.name, f"expected batch and length of {first!r}, {list(other[:2])}, got {list(shape[:2])}"
                )

    def wanted(self, asked: list[str], *, ahead: Sequence[str]) -> list[Described]:
        """The outputs asked for by name, or all there are, and of a forecast those that are named in `ahead`.

        Raises:
            InputMismatch: a name that the model does not give, or twice.
        """
        if not asked:
            return [*self.outputs, *(described for described in self.forecasts if described.name in ahead)]
        known = {described.name: described for described in (*self.outputs, *self.forecasts, *self.by_name)}
        for name in asked:
            if name not in known or asked.count(name) > 1:
                what = "expected each output once" if name in known else f"expected {', '.join(known)}"
                raise InputMismatch(f"output {name[:60]!r}: {what}: model {self.model}", parameter=name[:60])
        return [known[name] for name in asked]


_signatures: WeakKeyDictionary[Model, Signature] = WeakKeyDictionary()


def signature_of(model: Model) -> Signature:
    """The signature of a model, made when it is first asked for."""
    signature = _signatures.get(model)
    if signature is None:
        signature = _signatures[model] = _made_for(model)
    return signature


def _made_for(model: Model) -> Signature:
    observe, task = model.manifest.graphs["observe"], model.manifest.forecast
    inputs = [_described(tensor) for tensor in observe.inputs if tensor.name not in _KEPT_BY_THE_SERVICE]
    outputs = [_described(tensor) for tensor in observe.outputs if tensor.name not in _KEPT_BY_THE_SERVICE]
    forecasts, by_name = [], []
    if task is not None:
        levels = len(task.quantiles)
        by_name = [
            Described(EXPECTED, "FP32", (-1, -1)),
            Described(INTERVAL, "FP32", (-1, -1, 2)),
            Described(ANOMALY_SCORE, "FP32", (-1, -1)),
            Described(ANOMALY, "BOOL", (-1, -1)),
        ]
        forecasts = [
            Described(FORECAST_MEAN, "FP32", (-1, -1)),
            Described(FORECAST_QUANTILES, "FP32", (-1, -1, levels)),
            Described(FORECAST_MEDIAN, "FP32", (-1, -1)),
            Described(FORECAST_INTERVALS, "FP32", (-1, -1, -1, 2)),
            Described(FORECAST_SAMPLES, "FP32", (-1, -1, -1)),
            Described(FORECAST_AGGREGATES, "FP32", (-1, -1, levels)),
            Described(FORECAST_AGGREGATE_MEANS, "FP32", (-1, -1)),
        ]
        if task.future_covariates:
            inputs.append(Described(FUTURE_COVARIATES, "FP32", (-1, -1, len(task.future_covariates)), optional=True))
    return Signature(model.manifest.id, tuple(inputs), tuple(outputs), tuple(forecasts), tuple(by_name))


def _described(tensor: Tensor) -> Described:
    shape = tuple(extent if isinstance(extent, int) else -1 for extent in tensor.shape)
    return Described(tensor.name, _DATATYPES[tensor.dtype], shape)


def _checked(tensor: TensorIn, described: Described) -> NDArray[Any]:
    if tensor.datatype != described.datatype:
        raise mismatch(tensor.name, f"expected datatype {described.datatype}, got {tensor.datatype}")
    fits = len(tensor.shape) == len(described.shape) and all(
        came == extent or (extent < 0 and came > 0) for came, extent in zip(tensor.shape, described.shape, strict=True)
    )
    if not fits:
        raise mismatch(
            tensor.name,
            f"expected shape {list(described.shape)} (batch, time, …; −1 is any from 1 on), got {list(tensor.shape)}",
        )
    assert isinstance(tensor.data, np.ndarray)
    if described.datatype == "FP32" and (np.abs(tensor.data) > LARGEST).any():
        raise mismatch(tensor.name, f"expected numbers of at most {LARGEST:g} in size (float32), or NaN where missing")
    return tensor.data


def _names(described: tuple[Described, ...]) -> str:
    return ", ".join(one.name for one in described)
