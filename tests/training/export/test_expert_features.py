"""One step of the experts in a graph is the reference's: its track in every bit, what rests on sums to rounding."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from training.export import expert_features as nodes
from training.export.builder import GraphBuilder, Weights
from training.networks import expert_features as reference
from training.networks.expert_features import Array, ExpertSettings

SETTINGS = ExpertSettings(lags=(2, 3, 6), warm=3.0)
LAGGED = len(nodes.all_lags(SETTINGS)) + 1


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> onnxruntime.InferenceSession:
    folder, weights = tmp_path_factory.mktemp("graph"), Weights()
    g = GraphBuilder("step", weights)
    sizes = nodes.Stream.sizes(SETTINGS)
    names = nodes.Stream._fields
    stream = nodes.Stream(*(g.input(name, ("B", size)) for name, size in zip(names, sizes, strict=True)))
    value = g.input("value", ("B", 1))
    seen = nodes.foresee(g, stream, g.input("lagged", ("B", LAGGED)), SETTINGS)
    for part, size in zip(nodes.advance(g, stream, value, seen, SETTINGS), sizes, strict=True):
        g.output(part, ("B", size))
    for part in (*nodes.outcome(g, value, seen), seen.centre, seen.scale):
        g.output(part, ("B", 1))
    g.output(seen.features, ("B", SETTINGS.feature_count))
    weights.save(folder)
    g.save(folder, {})
    return onnxruntime.InferenceSession(str(folder / "step.onnx"), providers=["CPUExecutionProvider"])


def awkward(batch: int, length: int) -> Array:
    rng = np.random.default_rng(0)
    target = (10 ** rng.uniform(-6, 6, (batch, 1)) * rng.normal(2, 1, (batch, length))).astype(np.float32)
    target[rng.random(target.shape) < 0.15] = np.nan
    target[0] = 0
    target[1] = 5
    target[2, :10] = np.nan
    return target


def test_every_step_is_that_of_the_reference(graph: onnxruntime.InferenceSession) -> None:
    target, batch = awkward(7, 40), 7
    season = np.array([np.nan, 2, 4, 5, 0, 100, 6], np.float32)
    track, recent = (np.tile(row, (batch, 1)) for row in (reference.initial_track(), reference.initial_recent()))
    errors = np.zeros((2, batch, SETTINGS.experts), np.float32)
    for step, lagged in enumerate(reference.lagged_values(target, SETTINGS, season).transpose(1, 0, 2)):
        value = target[:, step, None]
        inputs = {"track": track, "error": errors[0], "weight": errors[1], "recent": recent}
        found = graph.run(None, {**inputs, "value": value, "lagged": np.ascontiguousarray(lagged)})
        seen = reference.foresee(track, errors, recent, lagged, SETTINGS)
        expected = [*reference.outcome(value, track, seen), seen.centre, seen.scale, seen.features]
        errors = reference.advance_errors(errors, value, track, seen, SETTINGS)
        recent = reference.advance_recent(recent, value, track, seen, SETTINGS)
        track = reference.advance_track(track, value, SETTINGS)
        np.testing.assert_array_equal(found[0], track)
        for got, want in zip(found[1:], (*errors, recent, *expected), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * np.nanmax(np.abs(want), initial=0))
