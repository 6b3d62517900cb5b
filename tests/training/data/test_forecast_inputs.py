"""Scales come from the training part, and the loss of a stretch from that stretch alone."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from service.contract.frequency import Frequency
from service.contract.manifest import StaticCovariate
from training.data.alignment import AlignedSeries, align_ends
from training.data.forecast_inputs import covariate_scales, features_of, log_scale_of, loss_between, static_encodings
from training.data.series import SeriesSet
from training.networks.forecaster import Forecaster, ForecasterSettings
from training.networks.quantile_head import quantile_loss

NAN = float("nan")


def series_with(covariate: list[float]) -> SeriesSet:
    values = np.array(covariate, np.float32)[None, :, None]
    return SeriesSet(
        name="file.csv",
        sha256="0" * 64,
        ids=("a",),
        frequency=Frequency.parse("D"),
        first=None,
        target=np.arange(len(covariate), dtype=np.float32)[None],
        covariate_names=("price",),
        covariates=values,
        static_covariates=(StaticCovariate(name="size"), StaticCovariate(name="kind", categories=("x", "y"))),
        static=np.array([[3, 1]], np.float32),
    )


def test_covariates_are_scaled_by_what_comes_before_validation() -> None:
    series = series_with([1, 3, NAN, 100])
    (scale,) = covariate_scales(series, align_ends(series), 3)
    assert (scale.name, scale.mean, scale.std) == ("price", 2.0, 1.0)


def test_covariate_that_never_changes_is_divided_by_one() -> None:
    series = series_with([5, 5, 5, 5])
    assert covariate_scales(series, align_ends(series), 3)[0].std == 1.0


def test_the_logarithm_of_the_scale_is_that_of_what_comes_before_validation() -> None:
    series = series_with([5] * 40)
    whole, part = (log_scale_of(align_ends(series), 0.9, end) for end in (40, 20))
    assert whole[0] > part[0] and all(deviation > 0 for _, deviation in (whole, part))  # the values go on growing


def test_static_covariates_are_numbers_or_columns() -> None:
    size, kind = static_encodings(series_with([1, 2, 3]))
    assert (size.mean, size.std, size.categories) == (3.0, 1.0, None)
    assert kind.categories == ("x", "y")


def test_loss_is_that_of_the_stretch_with_each_series_run_from_its_begin() -> None:
    torch.manual_seed(0)
    settings = ForecasterSettings("GRU", 4, 1, 0.0, (0.1, 0.5, 0.9), (1, 2), 0.9)
    network = Forecaster(settings).eval()
    target = np.random.default_rng(0).normal(10, 1, (2, 30)).astype(np.float32)
    target[1, :8] = NAN
    aligned = AlignedSeries(target, np.array([0, 8]))
    causal = features_of(aligned, settings)
    found = loss_between(network, causal.features, causal.target_z, aligned.begins, 20, 25)()
    losses = []
    for row, begin in enumerate((0, 8)):
        inputs = torch.from_numpy(causal.features[row : row + 1, begin:25])
        quantiles, _ = network(inputs, network.recurrence.initial_state(1))
        z = torch.from_numpy(causal.target_z[row : row + 1, 20:25])
        losses.append(float(quantile_loss(quantiles[:, -5:], z, settings.quantiles).detach()))
    assert found == pytest.approx(np.mean(losses), rel=1e-5)
