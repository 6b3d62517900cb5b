"""Streams through a published forecaster's `observe`: what was expected of each value and how surprising it was.

Streams go side by side, the shorter ones filled up with missing values, and in pieces of time: neither changes a bit
of what comes out. Shapes: B streams at a time, T steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.contract.anomaly import central, is_anomaly, score_of_pit
from service.contract.manifest import ForecastTask
from training.data.series import Array
from training.export import ExportedForecaster
from training.scoring.streams import Stream

MOST_STREAMS = 64
PIECE = 512
"""Steps of one run."""


@dataclass(frozen=True)
class Scored:
    """A stream and what the model said of each of its values; NaN where it could not."""

    stream: Stream
    expected: Array
    """(T,) the median of what was predicted."""
    lower: Array
    """(T,), with `upper` the interval that a value falls in with the probability `level`."""
    upper: Array
    level: float
    score: Array
    """(T,) in [0, 1]."""
    anomaly: NDArray[np.bool_] | None
    """(T,); None without a threshold."""


def score_streams(
    model: ExportedForecaster,
    task: ForecastTask,
    streams: Sequence[Stream],
    threshold: float | None,
    advanced: Callable[[float], None] = lambda share: None,
) -> list[Scored]:
    """Each stream scored as a session of its own would be.

    Args:
        threshold: the score from which a value is an anomaly; None flags none.
        advanced: told the share that is done.
    """
    order = sorted(range(len(streams)), key=lambda index: len(streams[index].values))
    found: dict[int, Scored] = {}
    total, done = sum(len(stream.values) for stream in streams), 0
    for start in range(0, len(order), MOST_STREAMS):
        chosen = order[start : start + MOST_STREAMS]
        together = [streams[index] for index in chosen]
        quantiles, scores = _observed(model, together)
        for row, index in enumerate(chosen):
            found[index] = _scored(streams[index], task, quantiles[row], scores[row], threshold)
        done += sum(len(stream.values) for stream in together)
        advanced(done / total)
    return [found[index] for index in range(len(streams))]


def _observed(model: ExportedForecaster, streams: Sequence[Stream]) -> tuple[Array, Array]:
    """Quantiles (B, T, Q) and scores (B, T), T that of the longest."""
    length = max(len(stream.values) for stream in streams)
    static = [stream.static for stream in streams if stream.static is not None]
    inputs = {
        "target": [stream.values for stream in streams],
        "calendar": [stream.calendar for stream in streams if stream.calendar is not None],
        "covariates": [stream.covariates for stream in streams if stream.covariates is not None],
    }
    whole = {name: _side_by_side(arrays, length) for name, arrays in inputs.items() if arrays}  # (B, T, …)
    rows = model.initial(np.stack(static) if static else None, len(streams))
    quantiles, scores = [], []
    for piece in _pieces(length):
        given = {name: array[:, piece] for name, array in whole.items()}
        outputs = model.run("observe", {"state": rows, **given})
        rows = outputs["next_state"]
        quantiles.append(outputs["quantiles"])
        scores.append(outputs["anomaly_score"] if "anomaly_score" in outputs else score_of_pit(outputs["pit"]))
    return np.concatenate(quantiles, axis=1), np.concatenate(scores, axis=1)


def _pieces(length: int) -> Iterator[slice]:
    return (slice(start, min(start + PIECE, length)) for start in range(0, length, PIECE))


def _side_by_side(arrays: Sequence[Array], length: int) -> Array:
    """(B, T, …) of arrays that begin together, NaN after the end of the shorter ones."""
    joined = np.full((len(arrays), length, *arrays[0].shape[1:]), np.nan, np.float32)
    for row, array in enumerate(arrays):
        joined[row, : len(array)] = array
    return joined


def _scored(stream: Stream, task: ForecastTask, quantiles: Array, score: Array, threshold: float | None) -> Scored:
    length = len(stream.values)
    low, middle, high, level = central(task.quantiles)
    score = score[:length]
    return Scored(
        stream,
        expected=quantiles[:length, middle],
        lower=quantiles[:length, low],
        upper=quantiles[:length, high],
        level=level,
        score=score,
        anomaly=None if threshold is None else is_anomaly(score, threshold),
    )
