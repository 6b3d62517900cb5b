"""Observing with a forecaster the short way: from a message's values to one array, and from a run to the answer.

Each answer has the bytes that `messages` and `frames` give; what the sessions of one run share is written once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from service.engine.job import Result
from service.models.model import Model
from service.protocols.answering import to_json
from service.protocols.arrays import rows_or_null
from service.protocols.native import frames
from service.sessions.step import Step
from service.tasks.forecast import anomaly_scores
from service.tasks.series_inputs import Values

Column = Sequence[float | None]
_ANSWER = (
    b'{"start":%d,"position":%d,"durable_position":%d,"quantiles":{"levels":%b,"values":%b},'
    b'"pit":%b,"anomaly_score":%b}'
)


def steps_of(model: Model, values: Column, covariates: Mapping[str, Column] | None) -> Values | None:
    """Values and covariates (T, 1 + K); None where they are not what the model takes."""
    task, given = model.manifest.forecast, covariates or {}
    # An object without any is another request than one that leaves it out, to whoever compares the two.
    if task is None or covariates == {} or len(given) != len(task.future_covariates):
        return None
    try:
        # One array from nested lists: an array for each column would cost more than all else about a step.
        return np.array([values, *(given[name] for name in task.future_covariates)], np.float32).T
    except (KeyError, ValueError):
        return None


def observed(step: Step, result: Result) -> bytes:
    """The JSON of `messages.Observed` after a step, from what the whole run shares."""
    run, row, session = result.run, result.first, step.session
    run.derived("anomaly_score", lambda outputs: anomaly_scores(outputs["pit"]))
    return _ANSWER % (
        step.start,
        step.start + result.steps,
        session.durable_position,
        _levels(session.model),
        _quantiles(run.json("quantiles")[row], run.outputs["quantiles"][row]),
        run.json("pit")[row],
        run.json("anomaly_score")[row],
    )


def _quantiles(text: bytes, values: NDArray[np.float32]) -> bytes:
    """Quantiles as JSON: null for a step before which nothing could be predicted."""
    return text if b"null" not in text else to_json(rows_or_null(values))


_texts: WeakKeyDictionary[Model, bytes] = WeakKeyDictionary()


def _levels(model: Model) -> bytes:
    """A model's quantile levels as JSON."""
    text = _texts.get(model)
    if text is None:
        assert model.manifest.forecast is not None
        text = _texts[model] = to_json(list(model.manifest.forecast.quantiles))
    return text


def written(step: Step, result: Result, number: int) -> bytes:
    """The binary frame of an answer."""
    packed = result.run.derived("packed", lambda outputs: frames.packed(outputs["quantiles"], outputs["pit"]))
    return frames.write_packed(
        packed[result.first],
        position=step.start + result.steps,
        durable_position=step.session.durable_position,
        repeated=False,
        number=number,
    )
