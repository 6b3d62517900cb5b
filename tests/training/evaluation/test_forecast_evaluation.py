"""An evaluation holds metrics beside baselines, and samples that are not chosen."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("torch")

from service.contract.frequency import Frequency
from training.data.alignment import AlignedSeries
from training.evaluation.backtest import Rows
from training.evaluation.forecast_evaluation import evaluate_forecaster, metric_season


class Oracle:
    """Knows that the series counts up: its row is the next value, and its paths lie closely around what comes."""

    def initial(self, static: Rows | None = None, batch: int = 1) -> Rows:
        return np.zeros((batch, 1), np.float32)

    def observe(
        self, rows: Rows, target: Rows, calendar: Rows | None = None, covariates: Rows | None = None
    ) -> tuple[Rows, Rows, Rows]:
        return np.zeros((*target.shape, 3), np.float32), np.full_like(target, 0.5), np.round(target[:, -1:]) + 1

    def generate(
        self, rows: Rows, uniforms: Rows, calendar: Rows | None = None, covariates: Rows | None = None
    ) -> tuple[Rows, Rows]:
        ahead = np.arange(uniforms.shape[1]) - 0.5
        return (rows + ahead + uniforms).astype(np.float32), rows


def test_model_that_knows_is_better_than_every_baseline() -> None:
    random = np.random.default_rng(0)
    target = (np.arange(120) + 0.2 * random.normal(size=(2, 120))).astype(np.float32)
    shares: list[float] = []
    found = evaluate_forecaster(
        Oracle(),
        AlignedSeries(target, np.zeros(2, np.int64)),
        80,
        120,
        horizon=5,
        stride=5,
        paths=50,
        seed=0,
        seasons=(7,),
        metric_season=1,
        advanced=shares.append,
    )
    assert found.origins == 8
    assert found.baselines.keys() == {"seasonal_naive_7", "naive", "drift"}
    assert found.metrics["mase"] < min(baseline["mase"] for baseline in found.baselines.values())
    assert found.metrics["coverage_80_one_step"] == 1
    assert [sample.origin for sample in found.samples] == [80, 90, 100, 115]
    assert {sample.series for sample in found.samples} == {0, 1}
    assert shares[-1] == 1
    json.dumps(found.to_dict())


@pytest.mark.parametrize(("frequency", "season"), [("1h", 24), ("D", 1), ("W", 1), ("MS", 12), ("30min", 48)])
def test_mase_uses_the_season_of_published_tables(frequency: str, season: int) -> None:
    assert metric_season(Frequency.parse(frequency)) == season


def test_metrics_that_are_undefined_are_left_out() -> None:
    series = AlignedSeries(np.zeros((1, 60), np.float32), np.zeros(1, np.int64))
    found = evaluate_forecaster(
        Oracle(), series, 40, 60, horizon=5, stride=5, paths=10, seed=0, seasons=(7,), metric_season=1
    )
    assert found.metrics.keys() == {"smape", "coverage_80", "coverage_80_one_step"}
    assert found.baselines["naive"].keys() == {"smape", "coverage_80"}
