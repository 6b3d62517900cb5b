"""Observing with a forecaster the short way: from a message's values to one array, and from a run to the answer.

Each answer has the bytes that `messages` and `frames` give; what the sessions of one run share is written once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from service.engine.job import Result
from service.engine.run import Run
from service.models.model import Model
from service.protocols.answering import to_json
from service.protocols.arrays import rows_or_null
from service.protocols.native import frames
from service.sessions.step import Step
from service.tasks.forecast import anomaly_scores
from service.tasks.series_inputs import Values

Column = Sequence[float | None]
_PLACE = b'{"start":%d,"position":%d,"durable_position":%d,'
_SEEN = b'"quantiles":{"levels":%b,"values":%b},"pit":%b,"anomaly_score":%b}'


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
    position = step.start + result.steps
    return _PLACE % (step.start, position, step.session.durable_position) + seen[result.first]


def _seen(run: Run, model: Model) -> list[bytes]:
    """What an answer tells of the values seen, for each row of a run."""
    assert model.manifest.forecast is not None
    levels = to_json(list(model.manifest.forecast.quantiles))
    run.derived("anomaly_score", lambda outputs: anomaly_scores(outputs["pit"]))
    predicted = zip(run.json("quantiles"), run.outputs["quantiles"], strict=True)
    quantiles = [_quantiles(text, values) for text, values in predicted]
    rows = zip(quantiles, run.json("pit"), run.json("anomaly_score"), strict=True)
    return [_SEEN % (levels, values, pit, score) for values, pit, score in rows]


def _quantiles(text: bytes, values: NDArray[np.float32]) -> bytes:
    """Quantiles as JSON: null for a step before which nothing could be predicted."""
    return text if b"null" not in text else to_json(rows_or_null(values))


def written(step: Step, result: Result, number: int) -> bytes:
    """The binary frame of an answer."""
    packed = result.run.derived("packed", lambda outputs: frames.packed(outputs["quantiles"], outputs["pit"]))
    return frames.write_packed(
        packed[result.first],
        position=step.start + result.steps,
        durable_position=step.session.durable_position,
        number=number,
    )
