"""Conformal factors in a graph are those of the reference, in every bit, and distances go there and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from training.export import conformal as nodes
from training.export.builder import GraphBuilder, Weights
from training.networks.conformal import conformal_factors

LEVELS = (0.1, 0.5, 0.9)
RATE = 0.07


@pytest.mark.parametrize("batch", [1, 4, 19])
def test_factors_have_the_bits_of_the_reference(batch: int, tmp_path: Path) -> None:
    weights = Weights()
    g = GraphBuilder("factors", weights)
    names = ("error", "below", "above")
    error, below, above = (g.input(name, ("B", "T", 1)) for name in names)
    after, every = nodes.advance_over(g, g.input("factors", ("B", 2)), error, below, above, LEVELS, RATE)
    g.output(every, ("B", "T", 2))
    g.output(after, ("B", 2))
    weights.save(tmp_path)
    g.save(tmp_path, {})
    session = onnxruntime.InferenceSession(str(tmp_path / "factors.onnx"), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(batch)
    values = rng.standard_normal((batch, 150)).astype(np.float32)
    values[rng.random(values.shape) < 0.1] = np.nan
    quantiles = np.sort(rng.standard_normal((batch, 150, 3)).astype(np.float32))
    distances = [values - quantiles[..., 1], *np.abs(quantiles[..., [0, 2]] - quantiles[..., [1]]).transpose(2, 0, 1)]
    inputs = {name: distance[..., None] for name, distance in zip(names, distances, strict=True)}
    found, last = session.run(None, {"factors": np.ones((batch, 2), np.float32), **inputs})
    expected, expected_last = conformal_factors(values, quantiles, LEVELS, RATE)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(last, expected_last)


def test_relaxing_undoes_stretching(tmp_path: Path) -> None:
    weights = Weights()
    g = GraphBuilder("there", weights)
    factors = g.input("factors", ("B", 2))
    stretched = nodes.stretch(g, factors, g.input("away", ("B", 3)))
    g.output(stretched, ("B", 3))
    g.output(nodes.relax(g, factors, stretched), ("B", 3))
    weights.save(tmp_path)
    g.save(tmp_path, {})
    session = onnxruntime.InferenceSession(str(tmp_path / "there.onnx"), providers=["CPUExecutionProvider"])
    away = np.array([[-2, 0, 3]], np.float32)
    there, back = session.run(None, {"factors": np.array([[0.5, 4]], np.float32), "away": away})
    np.testing.assert_array_equal(there, [[-1, 0, 12]])
    np.testing.assert_array_equal(back, away)
