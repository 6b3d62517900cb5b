"""What may be told of observed values beside a forecaster's own outputs: what was expected, and what is an anomaly."""

from __future__ import annotations

import numpy as np

from service.contract.anomaly import is_anomaly
from service.contract.manifest import ForecastTask
from service.protocols.inference_v2.signature import ANOMALY, ANOMALY_SCORE, EXPECTED, INTERVAL, Arrays
from service.tasks.anomalies import expected_of, scores_in


def with_observations(task: ForecastTask, outputs: Arrays, threshold: float | None) -> Arrays:
    """A graph's outputs (B, T, …) of observed values, and what else may be asked of them by name.

    Args:
        threshold: the score from which a value is an anomaly; where there is none, that is not told.
    """
    expected, interval = expected_of(task, outputs["quantiles"])
    scores = scores_in(outputs)
    told: Arrays = {
        EXPECTED: expected,
        INTERVAL: np.stack((interval.lower, interval.upper), axis=-1),
        ANOMALY_SCORE: scores,
    }
    if threshold is not None:
        told[ANOMALY] = is_anomaly(scores, threshold)
    return outputs | told


def has_anomaly(outputs: Arrays) -> bool:
    """Whether one of the values was flagged."""
    return ANOMALY in outputs and bool(outputs[ANOMALY].any())
