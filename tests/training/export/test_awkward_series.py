"""Whatever a stream brings, an exported forecaster answers with numbers that can be used."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

pytest.importorskip("torch")

from tests.training.export.tiny import tiny_forecaster
from training.export.forecaster import export_forecaster
from training.export.runner import ExportedForecaster, Named
from training.networks.anomaly_likelihood import THRESHOLD

NAN = float("nan")
LENGTH = 400


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ExportedForecaster:
    folder = tmp_path_factory.mktemp("model")
    export_forecaster(tiny_forecaster("GRU", conformal=0.05), folder)
    return ExportedForecaster(folder)


def observed(model: ExportedForecaster, values: NDArray[np.floating[Any]]) -> Named:
    return model.run("observe", {"state": model.initial(), "target": values.astype(np.float32)[None]})


def require_usable(model: ExportedForecaster, values: NDArray[np.floating[Any]]) -> Named:
    found = observed(model, values)
    quantiles, pit, score = (found[name][0] for name in ("quantiles", "pit", "anomaly_score"))
    seen = np.cumsum(~np.isnan(values)) - ~np.isnan(values) > 0
    assert np.isfinite(quantiles[seen]).all() and (np.diff(quantiles[seen]) >= 0).all()
    told = seen & ~np.isnan(values)
    assert (np.isfinite(pit) == told).all() and (np.isfinite(score) == told).all()
    assert ((pit[told] > 0) & (pit[told] < 1)).all() and ((score[told] >= 0) & (score[told] <= 1)).all()
    return found


@given(st.lists(st.floats(-(2.0**50), 2.0**50, width=32) | st.just(NAN), min_size=1, max_size=40))
@settings(max_examples=200, deadline=None)
def test_any_values_give_increasing_finite_quantiles_and_scores_that_are_shares(
    model: ExportedForecaster, values: list[float]
) -> None:
    require_usable(model, np.array(values, np.float32))


WAVE = 10 + np.sin(np.arange(LENGTH) / 4) + 0.1 * np.random.default_rng(0).standard_normal(LENGTH)
SERIES: dict[str, NDArray[np.float64]] = {
    "tiny": WAVE * 1e-12,
    "huge": WAVE * 1e12,
    "negative": -WAVE,
    "zeros": np.zeros(LENGTH),
    "constant": np.full(LENGTH, 7.25),
    "intermittent": np.where(np.arange(LENGTH) % 9 == 0, WAVE, 0),
    "with gaps": np.where(np.arange(LENGTH) % 50 < 20, NAN, WAVE),
    "with a level shift": WAVE + 50 * (np.arange(LENGTH) > 200),
    "one value": WAVE[:1],
}


@pytest.mark.parametrize("name", SERIES)
def test_awkward_series_are_answered(model: ExportedForecaster, name: str) -> None:
    require_usable(model, SERIES[name])


def test_a_first_value_is_followed_by_a_wide_interval_that_narrows_where_values_agree(
    model: ExportedForecaster,
) -> None:
    quantiles = observed(model, np.full(30, 5.0, np.float32))["quantiles"][0]
    width = quantiles[:, -1] - quantiles[:, 0]
    assert width[1] > 1 and (width[2:10] < width[1]).all() and width[29] < width[1] / 4


def test_the_unit_of_measurement_changes_no_score(model: ExportedForecaster) -> None:
    small, large = (observed(model, WAVE.astype(np.float32) * np.float32(2.0**power)) for power in (-40, 40))
    np.testing.assert_array_equal(small["anomaly_score"], large["anomaly_score"])


def test_a_level_shift_is_told_when_it_comes_and_not_for_long(model: ExportedForecaster) -> None:
    flagged = np.flatnonzero(observed(model, SERIES["with a level shift"])["anomaly_score"][0] >= THRESHOLD)
    assert flagged.tolist() == [201]


def test_a_constant_stream_is_never_anomalous_and_a_change_of_it_is(model: ExportedForecaster) -> None:
    values = np.full(300, 7.25)
    values[250] = 9
    score = observed(model, values)["anomaly_score"][0]
    assert (np.flatnonzero(score >= THRESHOLD) == [250]).all()
