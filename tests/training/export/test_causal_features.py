"""Features in a graph are those of training to the last bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

pytest.importorskip("torch")

from tests.training.export.tiny import tiny_forecaster
from training.export import causal_features as features_of
from training.export.builder import GraphBuilder, Weights
from training.networks.causal_features import causal_features, encode_covariates, encode_static

RICH = tiny_forecaster(rich=True).settings


def session(g: GraphBuilder, weights: Weights, folder: Path) -> onnxruntime.InferenceSession:
    weights.save(folder)
    g.save(folder, {})
    return onnxruntime.InferenceSession(str(folder / f"{g.name}.onnx"), providers=["CPUExecutionProvider"])


def test_scale_and_features_have_the_bits_of_training(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    target = (10 ** rng.uniform(-4, 6, (9, 1)) * rng.normal(1, 0.4, (9, 60))).astype(np.float32)
    target[rng.random(target.shape) < 0.2] = np.nan
    target[2] = 0
    settings = replace(tiny_forecaster().settings, log_scale=(1.5, 2.5))
    weights = Weights()
    g = GraphBuilder("features", weights)
    values = g.node("Unsqueeze", g.input("target", ("B", "T")), g.integers(2))
    statistics = g.input("statistics", ("B", 3))
    _, every = features_of.advance_over(g, statistics, values, settings.decay)
    scale = features_of.open_scale(g, every)
    sigma = features_of.sigma(g, scale)
    parts = features_of.lag_features(g, g.input("lags", ("B", "T", 3)), scale, sigma)
    parts += [features_of.age_feature(g, scale), features_of.log_scale_feature(g, sigma, (1.5, 2.5))]
    g.output(g.node("Concat", *parts, axis=-1), ("B", "T", 8))
    g.output(sigma, ("B", "T", 1))
    lags = np.full((9, 60, 3), np.nan, np.float32)
    for index, lag in enumerate(settings.lags):
        lags[:, lag:, index] = target[:, :-lag]
    inputs = {"target": target, "statistics": np.zeros((9, 3), np.float32), "lags": lags}
    found, scales = session(g, weights, tmp_path).run(None, inputs)
    expected = causal_features(target, None, None, None, settings)
    np.testing.assert_array_equal(scales[..., 0], expected.sigma)
    np.testing.assert_array_equal(found, expected.features)


def test_covariates_have_the_bits_of_training(tmp_path: Path) -> None:
    covariates = np.random.default_rng(0).normal(20, 5, (4, 6, 2)).astype(np.float32)
    covariates[1, 2, 0] = np.nan
    weights = Weights()
    g = GraphBuilder("covariates", weights)
    g.output(features_of.covariate_features(g, g.input("covariates", ("B", "T", 2)), RICH), ("B", "T", 2))
    found = session(g, weights, tmp_path).run(None, {"covariates": covariates})[0]
    np.testing.assert_array_equal(found, encode_covariates(covariates, RICH))


def test_static_covariates_have_the_bits_of_training(tmp_path: Path) -> None:
    static = np.array([[12.3, 0], [np.nan, 2], [-4, -1], [0, 1]], np.float32)
    weights = Weights()
    g = GraphBuilder("static", weights)
    g.output(features_of.static_features(g, g.input("static", ("B", 2)), RICH), ("B", 4))
    found = session(g, weights, tmp_path).run(None, {"static": static})[0]
    np.testing.assert_array_equal(found, encode_static(static, RICH.static))
