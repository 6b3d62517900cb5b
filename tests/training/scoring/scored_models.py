"""A published forecaster with random weights that tells its own anomaly score, for tests of files and of sessions."""

from __future__ import annotations

from pathlib import Path

from service.contract.manifest import DataFingerprint, ForecastTask, StaticCovariate, Training
from tests.training.export.tiny import LEVELS, tiny_any_series, tiny_forecaster
from training.export.any_series import export_any_series
from training.export.exported import Exported, Verified
from training.export.forecaster import export_forecaster
from training.export.publishing import publish

_TRAINING = Training(
    command="none",
    commit="none",
    data=DataFingerprint(name="none", sha256="0" * 64),
    seed=0,
    settings={},
    metrics={},
    parity_max_abs_error=0.0,
)


def publish_scored(
    models: Path,
    *,
    name: str = "tiny",
    frequency: str | None = "1h",
    rich: bool = False,
    conformal: float = 0.0,
    flags: bool = True,
) -> Path:
    """The version's folder; a `rich` one takes the calendar, covariates and static covariates; one that flags nothing
    has no threshold."""
    exported = export_forecaster(tiny_forecaster("GRU", rich=rich, conformal=conformal), models / ".exports" / name)
    task = ForecastTask(
        frequency=frequency,
        quantiles=LEVELS,
        calendar=("hour_of_day", "day_of_week") if rich else (),
        future_covariates=("heat", "open") if rich else (),
        static_covariates=(
            StaticCovariate(name="area"),
            StaticCovariate(name="kind", categories=("mill", "dam", "wind")),
        )
        if rich
        else (),
        lags=(1, 7) if rich else (1, 2, 5),
        seasonality=24,
        context_length=24,
        prediction_length=12,
        anomaly_threshold=0.999 if flags else None,
        unit="MW",
    )
    return _publish(exported, models, name, task)


def publish_any_series(models: Path, *, name: str = "any") -> Path:
    """The folder of a version that counts steps and may be told a season."""
    exported = export_any_series(tiny_any_series(), models / ".exports" / name)
    task = ForecastTask(
        frequency=None,
        quantiles=LEVELS,
        static_covariates=(StaticCovariate(name="season"),),
        lags=(3, 4, 7, 12, 24),
        seasonality=1,
        context_length=24,
        prediction_length=12,
        anomaly_threshold=0.999,
    )
    return _publish(exported, models, name, task)


def _publish(exported: Exported, models: Path, name: str, task: ForecastTask) -> Path:
    return publish(
        *(Verified(exported, 0.0), models),
        name=name,
        description="Random weights.",
        license="CC0-1.0",
        training=_TRAINING,
        forecast=task,
    )
