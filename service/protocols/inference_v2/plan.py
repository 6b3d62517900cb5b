"""What one request asks of its model, checked as a whole before anything is done."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.contract.manifest import ForecastTask
from service.errors import InputMismatch
from service.models.model import Model
from service.protocols.inference_v2.core import InferAnswer, InferRequest, Parameters, RequestedOutput, TensorOut
from service.protocols.inference_v2.parameters import InferParameters
from service.protocols.inference_v2.signature import (
    FORECAST_MEAN,
    FORECAST_QUANTILES,
    FUTURE_COVARIATES,
    Arrays,
    signature_of,
)
from service.tasks.limits import TaskLimits, check_count
from service.tasks.rows import check_tokens
from service.tasks.sample_paths import check_forecast


class Plan:
    """The arrays of a request, the outputs it wants, and how far it looks ahead.

    Raises:
        InputMismatch: an input, an output or a parameter does not fit the model.
        RequestTooLarge: more steps than one request may take in, or ahead.
    """

    def __init__(self, model: Model, asked: InferParameters, request: InferRequest, limits: TaskLimits) -> None:
        signature = signature_of(model)
        self.model = model
        self.asked = asked
        self._id = request.id
        self.arrays = signature.read(request.inputs)
        self.future: NDArray[Any] | None = self.arrays.pop(FUTURE_COVARIATES, None)
        first = next(iter(self.arrays.values()))
        self.rows: int = first.shape[0]
        check_count("steps", self.rows * first.shape[1], limits.max_steps)
        names = [_name(output) for output in request.outputs]
        self._outputs = signature.wanted(names, ahead=asked.horizon is not None)
        task = model.manifest.forecast
        if task is None:
            self.horizon = 0
            self.refuse(horizon=asked.horizon)
            check_tokens(model, self.arrays["tokens"])
        else:
            self.horizon = self._horizon(task)
            self._check_future(task)
            if self.horizon:
                check_forecast(self.horizon, None, None, limits)

    def refuse(self, **given: object) -> None:
        """Check that nothing is given that only forecasters take."""
        for name, value in given.items():
            if value is not None:
                manifest = self.model.manifest
                does = "classifies sequences" if manifest.classify else "writes text"
                raise InputMismatch(
                    f"parameters.{name}: model {manifest.id} {does} and takes no {name}", parameter=name
                )

    def answer(self, arrays: Arrays, parameters: Parameters) -> InferAnswer:
        """The answer from all outputs there are, (B, …) each."""
        manifest = self.model.manifest
        outputs = [
            TensorOut(wanted.name, wanted.datatype, arrays[wanted.name].shape, arrays[wanted.name])
            for wanted in self._outputs
        ]
        return InferAnswer(manifest.name, str(manifest.version), self._id, parameters, outputs)

    def nothing_ahead(self) -> Arrays:
        """A forecast of nothing: NaN for one row."""
        assert self.model.manifest.forecast is not None
        levels = len(self.model.manifest.forecast.quantiles)
        return {
            FORECAST_MEAN: np.full((1, self.horizon), np.nan, np.float32),
            FORECAST_QUANTILES: np.full((1, self.horizon, levels), np.nan, np.float32),
        }

    def _horizon(self, task: ForecastTask) -> int:
        """Steps to look ahead, 0 for none; the model's own where a forecast is asked for by its name alone."""
        if not any(wanted.name in (FORECAST_MEAN, FORECAST_QUANTILES) for wanted in self._outputs):
            return 0
        return task.prediction_length if self.asked.horizon is None else self.asked.horizon

    def _check_future(self, task: ForecastTask) -> None:
        """The covariates of the time ahead come with a forecast of a model that takes any, and only then."""
        needed = self.horizon if task.future_covariates else 0
        came = 0 if self.future is None else self.future.shape[1]
        if came != needed:
            raise InputMismatch(
                f"input {FUTURE_COVARIATES!r}: expected {needed} steps, as many as are to be forecast, got {came}",
                parameter=FUTURE_COVARIATES,
            )


def _name(output: RequestedOutput) -> str:
    for name, value in output.parameters.items():
        if name != "binary_data" or not isinstance(value, bool):
            raise InputMismatch(
                f"output {output.name[:60]!r}: {name[:60]}: expected nothing but binary_data, true or false",
                parameter=name[:60],
            )
    return output.name
