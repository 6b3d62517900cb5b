"""From which anomaly score on a session's values are flagged: its own threshold, or its model's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from service.errors import InputMismatch
from service.models.model import Model

if TYPE_CHECKING:
    from service.sessions.session import Session


class AnomalyWatch(Protocol):
    """Whoever counts what is flagged."""

    def on_anomalies(self, model: str, count: int) -> None:
        """So many values of sessions on a model reached their threshold."""


def threshold_of(session: Session) -> float | None:
    """The score from which a value is flagged; None flags none."""
    if session.anomaly_threshold is not None:
        return session.anomaly_threshold
    task = session.engine.model.manifest.forecast
    return None if task is None else task.anomaly_threshold


def require_threshold(model: Model, threshold: float | None) -> float | None:
    """The threshold that a session on the model asks for.

    Raises:
        InputMismatch: it is no score, or the model tells none.
    """
    if threshold is None:
        return None
    if model.manifest.forecast is None:
        raise InputMismatch(
            f"anomaly_threshold: expected with a forecaster, and {model.manifest.id} is none: leave it out",
            parameter="anomaly_threshold",
        )
    if not 0 < threshold <= 1:
        raise InputMismatch(
            f"anomaly_threshold: expected a score above 0 and at most 1, such as 0.999, got {threshold:g}",
            parameter="anomaly_threshold",
        )
    return float(threshold)
