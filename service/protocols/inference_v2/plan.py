"""What one request asks of its model, checked as a whole before anything is done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from service.contract.manifest import ForecastTask
from service.errors import InputMismatch
from service.models.model import Model
from service.protocols.inference_v2.classification import likeliest
from service.protocols.inference_v2.core import InferAnswer, InferRequest, Parameters, RequestedOutput, TensorOut
from service.protocols.inference_v2.forecasts import forecast_request, forecast_tensors, outputs_ahead
from service.protocols.inference_v2.parameters import InferParameters
from service.protocols.inference_v2.signature import (
    ANOMALY,
    FORECAST,
    FUTURE_COVARIATES,
    Arrays,
    Described,
    signature_of,
)
from service.tasks.classify import classify_task
from service.tasks.direct import answers_directly
from service.tasks.forecast import Forecast
from service.tasks.limits import TaskLimits, check_count
from service.tasks.rows import check_tokens
from service.tasks.series_inputs import forecast_task


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
        ahead = [] if asked.horizon is None else outputs_ahead(asked)
        self._outputs = signature.wanted([output.name for output in request.outputs], ahead=ahead)
        self._counts = {output.name: _count(model, output) for output in request.outputs}
        task = model.manifest.forecast
        self.horizon = 0 if task is None else self._horizon(task)
        self.ahead = forecast_request(asked, self.horizon, [output.name for output in self._outputs])
        if task is None:
            self.refuse(horizon=asked.horizon)
            check_tokens(model, self.arrays["tokens"])
        else:
            self._check_future(task)
            if self.ahead is not None:
                self.ahead.check(limits, self.rows)

    def require_threshold(self, threshold: float | None) -> None:
        """Check that there is one where anomalies are asked for.

        Raises:
            InputMismatch: there is none.
        """
        if threshold is None and any(wanted.name == ANOMALY for wanted in self._outputs):
            raise InputMismatch(
                f"output {ANOMALY!r}: model {self.model.manifest.id} has no threshold for its anomaly score: give "
                "one as the parameter anomaly_threshold, for a sequence where it starts",
                parameter=ANOMALY,
            )

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
        outputs = [self._output(wanted, arrays[wanted.name]) for wanted in self._outputs]
        return InferAnswer(manifest.name, str(manifest.version), self._id, parameters, outputs)

    def _output(self, wanted: Described, array: NDArray[Any]) -> TensorOut:
        count = self._counts.get(wanted.name)
        if count is None:
            return TensorOut(wanted.name, wanted.datatype, array.shape, array)
        told = likeliest(array, count, classify_task(self.model).classes)
        return TensorOut(wanted.name, "BYTES", told.shape, told)

    @property
    def observes(self) -> bool:
        """Whether anything is wanted of the values themselves, and not only of what follows them."""
        return any(not wanted.name.startswith(FORECAST) for wanted in self._outputs)

    @property
    def method(self) -> Parameters:
        """What the answer says of how its forecast is made: that it is direct, where it is."""
        return {"forecast_method": "direct"} if answers_directly(self.model, self.horizon) else {}

    def tensors_ahead(self, told: Sequence[Forecast | None]) -> Arrays:
        """The forecasts of all rows as outputs (B, …), NaN where there is none."""
        assert self.ahead is not None
        return forecast_tensors(told, self.ahead, forecast_task(self.model).quantiles)

    def _horizon(self, task: ForecastTask) -> int:
        """Steps to look ahead, 0 for none; the model's own where a forecast is asked for by its name alone."""
        if not any(wanted.name.startswith(FORECAST) for wanted in self._outputs):
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


def _count(model: Model, output: RequestedOutput) -> int | None:
    """How many of the likeliest classes are to be told in the place of probabilities; None for an output itself.

    Raises:
        InputMismatch: a parameter that is unknown, of another kind, or of an output that has no classes.
    """
    task = model.manifest.classify
    has_classes = task is not None and output.name == "probabilities"
    for name, value in output.parameters.items():
        counts = has_classes and name == "classification" and type(value) is int and value >= 1
        if not counts and (name != "binary_data" or not isinstance(value, bool)):
            more = ", or classification, how many of the likeliest classes to tell" if has_classes else ""
            raise InputMismatch(
                f"output {output.name[:60]!r}: {name[:60]}: expected nothing but binary_data, true or false{more}",
                parameter=name[:60],
            )
    count = output.parameters.get("classification")
    return None if count is None or task is None else min(int(count), len(task.classes))
