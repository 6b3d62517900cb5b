"""The bundled general model on streams that it should cope with, through its own graphs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch")

from service.contract.manifest import load_manifest
from training.export import ExportedForecaster

FOLDER = Path(__file__).parents[3] / "models" / "any-series" / "1"
Array = NDArray[np.float32]


@pytest.fixture(scope="module")
def model() -> ExportedForecaster:
    if not FOLDER.exists():
        pytest.skip("any-series is not bundled here")
    return ExportedForecaster(FOLDER)


def observed(model: ExportedForecaster, values: object) -> dict[str, Array]:
    target = np.atleast_2d(np.asarray(values, np.float32))
    rows = model.initial(np.full((len(target), 1), np.nan, np.float32))
    return model.run("observe", {"state": rows, "target": target})


def wave(length: int = 1200, period: int = 24) -> Array:
    random = np.random.default_rng(0)
    steps = np.arange(length)
    return (10 + 3 * np.sin(2 * np.pi * steps / period) + 0.3 * random.normal(size=length)).astype(np.float32)


def widths(found: dict[str, Array]) -> Array:
    return found["quantiles"][..., 9] - found["quantiles"][..., 1]


def test_forecast_is_wide_after_the_first_value_and_narrows(model: ExportedForecaster) -> None:
    found = observed(model, wave())
    width = widths(found)[0]
    assert np.isnan(found["quantiles"][0, 0]).all()  # nothing was seen yet
    assert width[1] > 3 * np.median(width[-100:])


def test_season_is_found_without_being_told(model: ExportedForecaster) -> None:
    values = wave()
    found = observed(model, values)["quantiles"][0, -200:, 5]
    error = np.abs(found - values[-200:]).mean()
    assert error < 0.5 * np.abs(np.diff(values[-201:])).mean()


@pytest.mark.parametrize("factor", [1e-12, 1e12, -1.0])
def test_unit_and_sign_make_no_difference_to_how_good_it_is(model: ExportedForecaster, factor: float) -> None:
    plain, other = observed(model, wave()), observed(model, wave() * np.float32(factor))
    tail = slice(-300, None)
    assert np.isfinite(other["quantiles"][0, 1:]).all() and np.isfinite(other["anomaly_score"][0, 1:]).all()
    ratio = widths(other)[0, tail].mean() / (abs(factor) * widths(plain)[0, tail].mean())
    assert 0.7 < ratio < 1.4


def test_missing_values_are_bridged_and_not_scored(model: ExportedForecaster) -> None:
    values = wave()
    values[800:850] = np.nan
    found = observed(model, values)
    assert np.isnan(found["anomaly_score"][0, 800:850]).all()
    assert np.isfinite(found["quantiles"][0, 800:]).all()


@pytest.mark.parametrize("level", [0.0, 5.0, -3.0])
def test_constant_stream_is_never_flagged(model: ExportedForecaster, level: float) -> None:
    found = observed(model, np.full(600, level))
    assert np.nanmax(found["anomaly_score"]) == 0 and np.isfinite(found["quantiles"][0, 1:]).all()


def test_spike_is_flagged_and_ordinary_values_hardly_ever(model: ExportedForecaster) -> None:
    threshold = load_manifest(FOLDER).forecast.anomaly_threshold  # type: ignore[union-attr]
    assert threshold is not None
    values = wave()
    values[1000] = 40
    score = observed(model, values)["anomaly_score"][0]
    assert score[1000] >= threshold
    assert np.nansum(score[:1000] >= threshold) <= 3


def test_level_shift_is_told_once(model: ExportedForecaster) -> None:
    values = wave()
    values[900:] += 30
    threshold = load_manifest(FOLDER).forecast.anomaly_threshold  # type: ignore[union-attr]
    flagged = np.flatnonzero(observed(model, values)["anomaly_score"][0] >= np.float32(threshold or 0))
    after = flagged[flagged >= 900]
    assert after[0] == 900 and len(after) <= 2


def test_one_glitch_does_not_spoil_what_follows(model: ExportedForecaster) -> None:
    values = wave(2400)
    values[900] = 1e12
    clean, spoiled = (widths(observed(model, series))[0, -300:].mean() for series in (wave(2400), values))
    assert spoiled < 3 * clean


def test_counts_with_many_zeros_stay_finite(model: ExportedForecaster) -> None:
    random = np.random.default_rng(3)
    values = np.where(random.random(900) < 0.1, random.poisson(3, 900), 0)
    found = observed(model, values)
    assert np.isfinite(found["quantiles"][0, 1:]).all() and np.isfinite(found["pit"][0, 1:]).all()
