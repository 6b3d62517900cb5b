"""The histogram of pit, by model."""

from __future__ import annotations

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from service.pit_counts import BUCKETS, PitCounts


@pytest.fixture
def counts() -> PitCounts:
    return PitCounts()


def told(counts: PitCounts) -> dict[str, float]:
    """Every sample in Prometheus' text, by name and labels."""
    registry = CollectorRegistry()
    registry.register(counts)
    lines = [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_values_are_counted_up_to_each_bound_and_missing_ones_are_not(counts: PitCounts) -> None:
    counts.note("load", np.array([[0.0, 0.05, 0.051], [np.nan, 0.5, 1.0]], np.float32))
    samples = told(counts)
    assert samples['unroll_pit_bucket{le="0.05",model="load"}'] == 2
    assert samples['unroll_pit_bucket{le="0.1",model="load"}'] == 3
    assert samples['unroll_pit_bucket{le="0.5",model="load"}'] == 4
    assert samples['unroll_pit_bucket{le="+Inf",model="load"}'] == samples['unroll_pit_count{model="load"}'] == 5
    assert samples['unroll_pit_sum{model="load"}'] == pytest.approx(1.601)


def test_values_within_the_central_intervals_are_counted(counts: PitCounts) -> None:
    counts.note("load", np.array([0.02, 0.03, 0.1, 0.25, 0.5, 0.75, 0.9, 0.91, 0.98, np.nan], np.float32))
    samples = told(counts)
    covered = {
        interval: samples[f'unroll_observations_covered_total{{interval="{interval}",model="load"}}']
        for interval in ("0.5", "0.8", "0.95")
    }
    assert covered == {"0.5": 3, "0.8": 5, "0.95": 7} and samples['unroll_pit_count{model="load"}'] == 9


def test_many_runs_are_counted_whole_and_models_apart(counts: PitCounts) -> None:
    draws = np.random.default_rng(0).uniform(size=(300, 64, 1)).astype(np.float32)
    for run in draws:
        counts.note("load", run)
    counts.note("price", np.ones((1, 1), np.float32))
    samples = told(counts)
    assert samples['unroll_pit_count{model="load"}'] == draws.size and samples['unroll_pit_count{model="price"}'] == 1
    assert samples['unroll_pit_bucket{le="0.5",model="load"}'] == np.count_nonzero(draws <= 0.5)
    assert sum(name.startswith('unroll_pit_bucket{le="') and "load" in name for name in samples) == BUCKETS + 1
