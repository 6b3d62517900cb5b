"""DeepAR's instances as series, and its configuration as what is wanted of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.contract.manifest import ForecastTask
from service.errors import InputMismatch
from service.models.model import Model
from service.protocols import arrays
from service.protocols.sagemaker.messages import (
    DEFAULT_SAMPLES,
    Configuration,
    Instance,
    Interval,
    Number,
    Prediction,
)
from service.protocols.series import Series
from service.tasks.distributions import Distribution
from service.tasks.forecast import Forecast, ForecastRequest
from service.tasks.series_inputs import forecast_task


def read_instance(model: Model, instance: Instance, *, in_session: bool = False, opening: bool = True) -> Series:
    """One instance as a series.

    Args:
        in_session: what is new of a session's series, which may know its time already.
        opening: whether `cat` can still be taken in.

    Raises:
        InputMismatch: it is not a series this model takes.
    """
    task = forecast_task(model)
    if not instance.target and not in_session:
        raise InputMismatch("target: expected at least one value, got none", parameter="target")
    if task.calendar and instance.start is None and not in_session:
        raise InputMismatch(
            f"start: model {model.manifest.id} looks at the calendar: give the first value's time", parameter="start"
        )
    if instance.cat is not None and not opening:
        raise InputMismatch("cat: expected only when the session is opened: leave it out", parameter="cat")
    return Series(
        model,
        _numbers(instance.target, "target"),
        first_timestamp(model, instance.start),
        static=categories(model, instance.cat) if opening else None,
        covariates=_covariates(task, instance),
    )


def first_timestamp(model: Model, start: str | None) -> np.datetime64 | None:
    """The time of the first value, which DeepAR's clients always send; None of a model that only counts steps.

    Raises:
        InputMismatch: not ISO 8601.
    """
    told = None if start is None else arrays.timestamp(start, "start")
    return told if forecast_task(model).frequency is not None else None


def categories(model: Model, numbers: Sequence[int] | None) -> dict[str, float | str] | None:
    """Static covariates by name, from the number of a category for each; numbers count from 0.

    Raises:
        InputMismatch: not one for each categorical covariate, or no such category.
    """
    known = [covariate for covariate in forecast_task(model).static_covariates if covariate.categories is not None]
    if numbers is None and not known:
        return None
    if numbers is None or len(numbers) != len(known):
        words = f"a number for each of {', '.join(one.name for one in known)}" if known else "none: leave it out"
        raise InputMismatch(
            f"cat: expected {words}, got {'none' if numbers is None else len(numbers)}", parameter="cat"
        )
    chosen: dict[str, float | str] = {}
    for index, (covariate, number) in enumerate(zip(known, numbers, strict=True)):
        names = covariate.categories or ()
        if not 0 <= number < len(names):
            raise InputMismatch(
                f"cat.{index}: expected a category of {covariate.name} from 0 to {len(names) - 1}, got {number}",
                parameter=f"cat.{index}",
            )
        chosen[covariate.name] = names[number]
    return chosen


def _covariates(task: ForecastTask, instance: Instance) -> dict[str, NDArray[np.float32]] | None:
    names, given = task.future_covariates, instance.dynamic_feat or []
    if len(given) != len(names):
        words = f"a list for each of {', '.join(names)}" if names else "none: leave it out"
        raise InputMismatch(f"dynamic_feat: expected {words}, got {len(given) or 'none'}", parameter="dynamic_feat")
    steps = len(instance.target) + task.prediction_length
    for index, column in enumerate(given):
        if len(column) != steps:
            raise InputMismatch(
                f"dynamic_feat.{index}: expected {steps} values ({len(instance.target)} of the series and "
                f"{task.prediction_length} of the horizon), got {len(column)}",
                parameter=f"dynamic_feat.{index}",
            )
    columns = {
        name: _numbers(column, f"dynamic_feat.{index}")
        for index, (name, column) in enumerate(zip(names, given, strict=True))
    }
    return columns or None


def _numbers(values: Sequence[Number], place: str) -> NDArray[np.float32]:
    return arrays.float_array([None if value == "NaN" else value for value in values], place)


def read_configuration(model: Model, configuration: Configuration) -> ForecastRequest:
    """What is wanted of every series.

    Raises:
        InputMismatch: a quantile that is none.
    """
    levels = [_level(text, index) for index, text in enumerate(configuration.quantiles)]
    samples = configuration.num_samples
    if samples is None and "samples" in configuration.output_types:
        samples = DEFAULT_SAMPLES
    wants_quantiles = "quantiles" in configuration.output_types
    return ForecastRequest(
        forecast_task(model).prediction_length,
        quantiles=levels if wants_quantiles else (),
        levels=configuration.levels,
        samples=samples,
        aggregate=configuration.aggregate,
    )


def _level(given: str | float, index: int) -> float:
    try:
        level = float(given)
    except ValueError:
        level = 0.0
    if not 0 < level < 1:
        place = f"configuration.quantiles.{index}"
        raise InputMismatch(f'{place}: expected a level such as "0.9", got {str(given)[:60]!r}', parameter=place)
    return level


def prediction(ahead: Forecast, configuration: Configuration) -> Prediction:
    """A forecast as it was asked for, quantiles under the very names they were asked by."""
    told = _told(ahead, configuration)
    if ahead.method == "direct":
        told.method = ahead.method
    if "samples" in configuration.output_types:
        told.samples = ahead.samples
    if ahead.aggregates:
        told.aggregates = {name: _told(one, configuration) for name, one in ahead.aggregates.items()}
    return told


def _told(ahead: Distribution, configuration: Configuration) -> Prediction:
    told = Prediction()
    if "mean" in configuration.output_types:
        told.mean = ahead.mean
    if "quantiles" in configuration.output_types:
        told.quantiles = {str(name): ahead.quantiles[float(name)] for name in configuration.quantiles}
    if ahead.intervals:
        told.intervals = [Interval(level, lower, upper) for level, (lower, upper) in ahead.intervals.items()]
    return told
