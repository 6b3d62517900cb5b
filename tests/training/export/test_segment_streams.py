"""Whatever a stream brings, a segment forecaster's answers are numbers in order, or missing where nothing is known.

Known is what the window holds: after a gap as long as that, a stream is as one that begins.
"""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from training.export.runner import ExportedForecaster  # noqa: E402
from training.export.segment_forecaster import export_segment_forecaster  # noqa: E402
from training.networks.segment_forecaster import SegmentForecaster, SegmentSettings  # noqa: E402

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
NAN = float("nan")
CONTEXT = 24
SMALL = st.integers(-1000, 1000).map(lambda number: number / 100)


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> ExportedForecaster:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("segments")
    made_of = SegmentSettings(CONTEXT, 8, 4, 16, 0.0, LEVELS, 4, "last", conformal=0.02)
    export_segment_forecaster(SegmentForecaster(made_of).eval(), folder)
    return ExportedForecaster(folder)


def require_sensible(graphs: ExportedForecaster, stream: np.ndarray) -> None:
    """After each value of a stream (T,), what is known is finite and in order, and what is not is missing."""
    found = graphs.run("observe", {"state": graphs.initial(), "target": stream[None]})
    counted = np.cumsum(np.concatenate([np.zeros(CONTEXT), ~np.isnan(stream)]))
    seen = counted[CONTEXT:] - counted[:-CONTEXT] > 0  # in the window that ends with each value
    before = np.concatenate([[False], seen[:-1]])
    assert (np.isfinite(found["quantiles"][0]).all(-1) == before).all()
    assert (np.diff(found["quantiles"][0][before]) >= 0).all()
    told = before & ~np.isnan(stream)
    for name in ("pit", "anomaly_score"):
        assert (np.isfinite(found[name][0]) == told).all()
        assert ((found[name][0][told] >= 0) & (found[name][0][told] <= 1)).all()
    ahead = graphs.forecast(found["next_state"])
    assert np.isfinite(ahead).all() == seen[-1]
    assert (np.diff(ahead[0]) >= 0).all() or not seen[-1]
    samples, _ = graphs.generate(found["next_state"], np.full((1, 5), 0.3, np.float32))
    assert np.isfinite(samples).all() == seen[-1]


@pytest.mark.parametrize("value", [0.0, 5.0, -5.0, 1e12, -1e12, 1e-12])
def test_forecast_from_the_first_value_is_wide(graphs: ExportedForecaster, value: float) -> None:
    _, _, rows = graphs.observe(graphs.initial(), np.array([[value]], np.float32))
    ahead = graphs.forecast(rows)[0]
    assert np.isfinite(ahead).all()
    if value:
        assert ((ahead[:, -1] - ahead[:, 0]) / abs(value) > 0.1).all()


@pytest.mark.parametrize(
    "stream",
    [
        [NAN] * 30,
        [0.0] * 60,
        [7.0] * 60,
        [1e12] * 30 + [1e-12] * 30,
        [-1e12, 1e12] * 30,
        [0.0] * 40 + [1e12] + [0.0] * 30,
        [NAN] * 20 + [3.0] + [NAN] * 60,
        [0, 0, 0, 4, 0, 0, 0, 0, 9, 0] * 6,
    ],
)
def test_awkward_streams_are_answered(graphs: ExportedForecaster, stream: list[float]) -> None:
    require_sensible(graphs, np.array(stream, np.float32))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.just(NAN), st.sampled_from([0.0, 1e12, -1e12, 1e-12]), SMALL), min_size=1, max_size=50))
def test_any_stream_is_answered(graphs: ExportedForecaster, stream: list[float]) -> None:
    require_sensible(graphs, np.array(stream, np.float32))


def test_constant_stream_is_foretold_more_and_more_narrowly(graphs: ExportedForecaster) -> None:
    found = graphs.run("observe", {"state": graphs.initial(), "target": np.full((1, 60), 50, np.float32)})
    width = found["quantiles"][0, :, -1] - found["quantiles"][0, :, 0]
    assert width[25] < 0.2 * width[1]
