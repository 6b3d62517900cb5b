"""Scores and memories in a graph are those of the reference, in every bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from training.export import anomaly_likelihood as nodes
from training.export.builder import GraphBuilder, Weights
from training.networks.anomaly_likelihood import MEMORY, AnomalySettings, Array, anomaly_likelihood, initial_memory

SETTINGS = AnomalySettings()
LEVELS = (0.1, 0.5, 0.9)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> onnxruntime.InferenceSession:
    folder, weights = tmp_path_factory.mktemp("graph"), Weights()
    g = GraphBuilder("anomaly", weights)
    memory, surprise = g.input("memory", ("B", MEMORY)), g.input("surprise", ("B", "T"))
    after, score = nodes.score_over(g, memory, g.node("Unsqueeze", surprise, g.integers(2)), SETTINGS)
    g.output(score, ("B", "T", 1))
    g.output(after, ("B", MEMORY))
    step = nodes.advance(g, memory, g.slice(surprise, 0, 1, axis=1), SETTINGS)
    g.output(step, ("B", MEMORY))
    weights.save(folder)
    g.save(folder, {})
    return onnxruntime.InferenceSession(str(folder / "anomaly.onnx"), providers=["CPUExecutionProvider"])


def wild(batch: int, length: int) -> Array:
    rng = np.random.default_rng(batch)
    surprise = np.abs(rng.standard_t(1.5, (batch, length))).astype(np.float32)
    surprise[rng.random(surprise.shape) < 0.1] = np.nan
    surprise[rng.random(surprise.shape) < 0.05] = 0
    surprise[rng.random(surprise.shape) < 0.02] = np.inf
    return surprise


@pytest.mark.parametrize("batch", [1, 3, 17])
def test_scores_and_memory_have_the_bits_of_the_reference(graph: onnxruntime.InferenceSession, batch: int) -> None:
    surprise = wild(batch, 200)
    memory = np.tile(initial_memory(SETTINGS), (batch, 1))
    expected, last = anomaly_likelihood(surprise, SETTINGS)
    scores, after, _ = graph.run(None, {"memory": memory, "surprise": surprise})
    np.testing.assert_array_equal(scores[..., 0], expected)
    np.testing.assert_array_equal(after, last)


def test_one_step_leaves_the_memory_of_a_run_of_one(graph: onnxruntime.InferenceSession) -> None:
    memory = np.tile(initial_memory(SETTINGS), (5, 1))
    for value in wild(5, 40).T:
        _, after, step = graph.run(None, {"memory": memory, "surprise": value[:, None]})
        np.testing.assert_array_equal(after, step)
        memory = after


def test_a_surprise_is_the_error_over_the_spread_and_a_floor(tmp_path: Path) -> None:
    weights = Weights()
    g = GraphBuilder("surprise", weights)
    error, below, above = (g.input(name, ("B", 1)) for name in ("error", "below", "above"))
    g.output(nodes.surprise(g, error, below, above, LEVELS, SETTINGS), ("B", 1))
    weights.save(tmp_path)
    g.save(tmp_path, {})
    session = onnxruntime.InferenceSession(str(tmp_path / "surprise.onnx"), providers=["CPUExecutionProvider"])
    given = {"error": [-3, 0, np.nan], "below": [0.5] * 3, "above": [1.5] * 3}
    found = session.run(None, {name: np.array(values, np.float32)[:, None] for name, values in given.items()})[0]
    np.testing.assert_allclose(found[:, 0], [3 / 1.05, 0, np.nan], rtol=1e-6)
