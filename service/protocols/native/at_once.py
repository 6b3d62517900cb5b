"""Observing with a forecaster the short way: from a message's values to one array, and from a run to the answer.

Each answer has the bytes that `messages` and `frames` give; what the sessions of one run share is written once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.contract.anomaly import Central, central, is_anomaly
from service.engine.job import Result
from service.engine.run import Run
from service.models.model import Model
from service.protocols.answering import to_json
from service.protocols.arrays import rows_or_null
from service.protocols.native import frames
from service.sessions.step import Step
from service.sessions.threshold import threshold_of
from service.tasks.anomalies import has_anomaly, highest_score, scores_of
from service.tasks.series_inputs import Values

Column = Sequence[float | None]
_PLACE = b'{"start":%d,"position":%d,"durable_position":%d,'
_SEEN = (
    b'"quantiles":{"levels":%b,"values":%%b},"expected":[%%b],"interval":{"level":%b,"lower":[%%b],"upper":[%%b]},'
    b'"pit":%%b,"anomaly_score":%%b'
)


def steps_of(
    model: Model, values: Column, covariates: Mapping[str, Column] | None
) -> Values | list[float | None] | None:
    """Values and covariates (T, 1 + K), a single step as a list; None where they are not what the model takes."""
    task, given = model.manifest.forecast, covariates or {}
    # An object without any is another request than one that leaves it out, to whoever compares the two.
    if task is None or covariates == {} or len(given) != len(task.future_covariates):
        return None
    if len(values) == 1:
        step = [values[0]]
        for name in task.future_covariates:
            column = given.get(name)
            if column is None or len(column) != 1:
                return None
            step.append(column[0])
        return step
    try:
        # One array from nested lists: an array for each column would cost more than all else about a step.
        return np.array([values, *(given[name] for name in task.future_covariates)], np.float32).T
    except (KeyError, ValueError):
        return None


def observed(step: Step, result: Result) -> bytes:
    """The JSON of `messages.Observed` after a step, from what the whole run shares."""
    seen = result.run.kept.get("observed")
    if seen is None:
        seen = result.run.kept["observed"] = _seen(result.run, step.session.model)
    position, threshold = step.start + result.steps, threshold_of(step.session)
    place = _PLACE % (step.start, position, step.session.durable_position)
    end = b"}" if threshold is None else b',"anomaly":%b}' % _flags(result, threshold)
    return place + seen[result.first] + end


def _seen(run: Run, model: Model) -> list[bytes]:
    """What an answer tells of the values seen, for each row of a run."""
    assert model.manifest.forecast is not None
    scores_of(run)
    template, chosen = _template(model.manifest.forecast.quantiles)
    columns = run.json("quantiles"), run.outputs["quantiles"], run.json("pit"), run.json("anomaly_score")
    told = []
    for text, predicted, pit, scores in zip(*columns, strict=True):
        lower, expected, upper = _of_each_step(text, chosen)
        told.append(template % (_quantiles(text, predicted), expected, lower, upper, pit, scores))
    return told


@cache
def _template(levels: tuple[float, ...]) -> tuple[bytes, Central]:
    """What all answers of a model have in common, and which quantiles tell the interval."""
    chosen = central(levels)
    return _SEEN % (to_json(levels), to_json(chosen.level)), chosen


def _of_each_step(text: bytes, chosen: Central) -> tuple[bytes, ...]:
    """Three numbers of each step of quantiles (T, Q) that are JSON already: to write them anew would take longer."""
    low, middle, high, _ = chosen
    if b"],[" not in text:
        step = text[2:-2].split(b",", high + 1)
        return step[low], step[middle], step[high]
    steps = [step.split(b",", high + 1) for step in text[2:-2].split(b"],[")]
    return tuple(b",".join([step[place] for step in steps]) for place in (low, middle, high))


def _quantiles(text: bytes, values: Values) -> bytes:
    """Quantiles as JSON: null for a step before which nothing could be predicted."""
    return text if b"null" not in text else to_json(rows_or_null(values))


def _flags(result: Result, threshold: float) -> bytes:
    """Whether each value of a step reached the threshold, as JSON."""
    if not highest_score(result) >= threshold:
        return b"[false]" if result.steps == 1 else b"[" + b",".join([b"false"] * result.steps) + b"]"
    return to_json(is_anomaly(scores_of(result.run)[result.first], threshold))


def written(step: Step, result: Result, number: int, *, scored: bool) -> bytes:
    """The binary frame of an answer."""
    run = result.run
    if scored:
        packed = run.derived("packed with scores", lambda given: frames.packed(*_columns(given), scores_of(run)))
    else:
        packed = run.derived("packed", lambda given: frames.packed(*_columns(given)))
    return frames.write_packed(
        packed[result.first],
        position=step.start + result.steps,
        durable_position=step.session.durable_position,
        number=number,
        scored=scored,
        anomaly=has_anomaly(step.session, result),
    )


def _columns(outputs: Mapping[str, NDArray[Any]]) -> tuple[Values, Values]:
    return outputs["quantiles"], outputs["pit"]
