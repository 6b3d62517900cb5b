"""The head in a graph against the head in PyTorch, on wild and on tame raw outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import onnxruntime  # noqa: E402

from training.export.builder import GraphBuilder, Weights  # noqa: E402
from training.export.quantile_head import QuantileHeadGraph  # noqa: E402
from training.networks.quantile_head import pit, quantile_function, quantiles_from_raw  # noqa: E402

NINE = (0.025, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.975)
LOPSIDED = (0.01, 0.05, 0.2)


def run(
    levels: tuple[float, ...], folder: Path, raw: np.ndarray, z: np.ndarray, uniforms: np.ndarray
) -> list[np.ndarray]:
    weights, head = Weights(), QuantileHeadGraph(levels)
    g = GraphBuilder("head", weights)
    x = head.squareplus(g, g.input("raw", ("B", "T", len(levels))))
    quantiles, begins, widths = head.distribution(g, x)
    found = [
        (quantiles, len(levels)),
        (head.pit(g, begins, widths, g.input("z", ("B", "T", 1))), 1),
        (head.value(g, x, *head.draws(g, g.input("uniforms", ("B", "T", 1)))), 1),
    ]
    for value, width in found:
        g.output(value, ("B", "T", width))
    weights.save(folder)
    g.save(folder, {})
    session = onnxruntime.InferenceSession(str(folder / "head.onnx"), providers=["CPUExecutionProvider"])
    return list(session.run(None, {"raw": raw, "z": z, "uniforms": uniforms}))


@pytest.mark.parametrize("levels", [NINE, LOPSIDED])
@pytest.mark.parametrize("spread", [1.0, 8.0])
def test_quantiles_pit_and_draws_are_those_of_pytorch(levels: tuple[float, ...], spread: float, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    raw = (spread * rng.standard_normal((6, 50, len(levels)))).astype(np.float32)
    z = (3 * spread * rng.standard_normal((6, 50, 1))).astype(np.float32)
    uniforms = rng.uniform(1e-6, 1 - 1e-6, (6, 50, 1)).astype(np.float32)
    quantiles, scores, values = run(levels, tmp_path, raw, z, uniforms)
    expected = quantiles_from_raw(torch.from_numpy(raw), levels)
    np.testing.assert_allclose(quantiles, expected, atol=1e-5 * spread)
    np.testing.assert_allclose(scores[..., 0], pit(expected, levels, torch.from_numpy(z[..., 0])), atol=2e-4)
    drawn = quantile_function(expected, levels, torch.from_numpy(uniforms[..., 0]))
    np.testing.assert_allclose(values[..., 0], drawn, rtol=1e-4, atol=1e-4)


def test_quantiles_increase_and_pit_stays_inside_for_extreme_inputs(tmp_path: Path) -> None:
    raw = np.array([[[-1e4] * 9, [1e4] * 9, [0] * 9]], np.float32)
    z = np.array([[[-3e38], [3e38], [np.inf]]], np.float32)
    quantiles, scores, values = run(NINE, tmp_path, raw, z, np.full((1, 3, 1), 0.4, np.float32))
    assert (np.diff(quantiles) >= 0).all() and np.isfinite(values).all()
    assert ((scores > 0) & (scores < 1)).all()
