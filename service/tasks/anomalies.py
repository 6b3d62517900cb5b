"""What a session is told of its observations beside quantiles and pit: what was expected, and what is an anomaly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.contract.anomaly import central, is_anomaly, score_of_pit
from service.contract.manifest import ForecastTask
from service.engine.job import Outcome, Result
from service.engine.run import Run
from service.sessions.session import Session
from service.sessions.step import Step
from service.sessions.threshold import threshold_of
from service.tasks.series_inputs import Values

Then = Callable[[Step, Outcome], None]


class Interval(NamedTuple):
    """Where values (T,) were meant to fall with a probability of `level`; NaN where nothing was predicted."""

    level: float
    lower: Values
    upper: Values


def expected_of(task: ForecastTask, quantiles: Values) -> tuple[Values, Interval]:
    """The expected values (T,), and the interval around each, of quantiles (T, Q)."""
    chosen = central(task.quantiles)
    interval = Interval(chosen.level, quantiles[..., chosen.lower], quantiles[..., chosen.upper])
    return quantiles[..., chosen.expected], interval


def scores_in(outputs: Mapping[str, NDArray[Any]]) -> Values:
    """The anomaly scores among a graph's outputs, or made from its pit where it tells none itself."""
    own = outputs.get("anomaly_score")
    return score_of_pit(outputs["pit"]) if own is None else own


def scores_of(run: Run) -> Values:
    """The anomaly scores (B, T) of a run, made once for all its rows."""
    return run.outputs["anomaly_score"] if "anomaly_score" in run.outputs else run.derived("anomaly_score", scores_in)


def highest_score(result: Result) -> float:
    """The highest score of a job of one row; NaN where there is none."""
    highest: list[float] | None = result.run.kept.get("highest score")
    if highest is None:
        scores = scores_of(result.run)
        rows = scores[:, 0] if scores.shape[1] == 1 else np.fmax.reduce(scores, axis=1)
        highest = result.run.kept["highest score"] = rows.tolist()
    return highest[result.first]


def has_anomaly(session: Session, result: Result) -> bool:
    """Whether a value of a step of one row reached the session's threshold."""
    threshold = threshold_of(session)
    return threshold is not None and highest_score(result) >= threshold


def flags(session: Session, scores: Values) -> NDArray[np.bool_] | None:
    """Which scores reach the session's threshold; None where there is no threshold."""
    threshold = threshold_of(session)
    return None if threshold is None else is_anomaly(scores, threshold)


def count_anomalies(session: Session, count: int) -> None:
    """Tell whoever counts them of so many values that were flagged, once for each value."""
    if count:
        session.home.watch.on_anomalies(session.model.manifest.name, count)


def counting(session: Session, then: Then) -> Then:
    """What is to be told of a step's outcome, with its anomalies counted before."""
    threshold = threshold_of(session)
    if threshold is None:
        return then

    def count_then_tell(step: Step, outcome: Outcome) -> None:
        if isinstance(outcome, Result) and highest_score(outcome) >= threshold:
            count_anomalies(session, int(is_anomaly(scores_of(outcome.run)[outcome.first], threshold).sum()))
        then(step, outcome)

    return count_then_tell
