from __future__ import annotations

import numpy as np
import pytest

from service.contract.quantile_function import quantile_function
from service.tasks.distributions import Values, outlook_of_paths, outlook_of_quantiles
from service.tasks.forecast_request import ForecastRequest

OWN = (0.25, 0.5, 0.75)


def paths(*samples: list[float]) -> Values:
    return np.array(samples, np.float32)


def test_paths_become_a_mean_and_quantiles_by_level() -> None:
    found = outlook_of_paths(
        paths([0, 10], [4, 20], [8, 60]), OWN, ForecastRequest(2, quantiles=[0.25, 0.5], levels=[0.5], samples=3)
    )
    assert found.mean.tolist() == [4, 30] and found.median.tolist() == [4, 20]
    assert {level: values.tolist() for level, values in found.quantiles.items()} == {0.25: [2, 15], 0.5: [4, 20]}
    (lower, upper) = found.intervals[0.5]
    assert lower.tolist() == [2, 15] and upper.tolist() == [6, 40]
    assert found.samples is not None and found.samples.tolist() == [[0, 10], [4, 20], [8, 60]]


def test_the_models_own_levels_are_told_unless_others_are_asked_for() -> None:
    found = outlook_of_paths(paths([0], [4]), OWN, ForecastRequest(1))
    assert list(found.quantiles) == [0.25, 0.5, 0.75] and found.samples is None and not found.intervals
    assert not outlook_of_paths(paths([0], [4]), OWN, ForecastRequest(1, quantiles=())).quantiles


def test_many_paths_say_what_few_would() -> None:
    samples = np.random.default_rng(0).normal(size=(1000, 50)).astype(np.float32)
    wide = outlook_of_paths(samples, OWN, ForecastRequest(50))
    narrow = outlook_of_paths(samples[:, :5].copy(), OWN, ForecastRequest(5))
    assert wide.mean[:5].tobytes() == narrow.mean.tobytes()
    for level, values in narrow.quantiles.items():
        assert wide.quantiles[level][:5].tobytes() == values.tobytes()


def test_paths_that_overflow_are_told_without_a_warning() -> None:
    asked = ForecastRequest(2, aggregate=["sum"])
    found = outlook_of_paths(paths([np.inf, 3e38], [np.inf, 3e38], [0, 3e38]), OWN, asked)
    assert found.mean[0] == np.inf and found.aggregates["sum"].mean == np.inf


def test_an_aggregate_is_taken_of_each_path() -> None:
    found = outlook_of_paths(
        paths([0, 10], [4, 20], [8, 60]), OWN, ForecastRequest(2, levels=[0.5], aggregate=["sum", "max", "min", "mean"])
    )
    told = {name: float(one.median) for name, one in found.aggregates.items()}
    assert told == {"sum": 24, "max": 20, "min": 4, "mean": 12}
    total = found.aggregates["sum"]
    assert total.mean == 34 and total.quantiles[0.25] == 17 and [float(one) for one in total.intervals[0.5]] == [17, 46]


def test_quantiles_are_told_at_any_level_without_sampling() -> None:
    known = np.array([[-1, 0, 1], [-2, 1, 4]], np.float32)
    asked = ForecastRequest(2, quantiles=[0.25, 0.6, 0.999], levels=[0.5, 0.9])
    found = outlook_of_quantiles(known, None, OWN, asked)
    assert found.quantiles[0.25].tolist() == [-1, -2] and found.median.tolist() == [0, 1]
    assert found.quantiles[0.6].tolist() == pytest.approx([0.4, 2.2])
    assert [bound.tolist() for bound in found.intervals[0.5]] == [[-1, -2], [1, 4]]
    expected = quantile_function(known, OWN, np.array([[0.05], [0.95]])).astype(np.float32)
    assert [bound.tolist() for bound in found.intervals[0.9]] == expected.tolist()
    assert found.mean[0] == pytest.approx(0, abs=1e-6) and found.samples is None and not found.aggregates


def test_paths_beside_quantiles_tell_the_aggregates_alone() -> None:
    known = np.array([[-1, 0, 1], [-2, 1, 4]], np.float32)
    drawn = paths([1, 2], [3, 4])
    found = outlook_of_quantiles(known, drawn, OWN, ForecastRequest(2, aggregate=["sum"]))
    assert found.aggregates["sum"].mean == 5 and found.median.tolist() == [0, 1] and found.samples is None
    asked = ForecastRequest(2, samples=2)
    assert outlook_of_quantiles(known, drawn, OWN, asked).samples is drawn
