"""The graphs of a model for any series: what they take and remember, and answers to awkward streams."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tests.training.export.tiny import tiny_any_series  # noqa: E402
from training.export.any_series import export_any_series  # noqa: E402
from training.export.runner import ExportedForecaster  # noqa: E402
from training.networks.anomaly_likelihood import MEMORY, THRESHOLD  # noqa: E402

NAN = float("nan")
LENGTH = 300
WAVE = 10 + np.sin(np.arange(LENGTH) / 2) + 0.1 * np.random.default_rng(0).standard_normal(LENGTH)
SERIES = {
    "tiny": WAVE * 1e-12,
    "huge": WAVE * 1e12,
    "negative": -WAVE,
    "zeros": np.zeros(LENGTH),
    "constant": np.full(LENGTH, 7.25),
    "intermittent": np.where(np.arange(LENGTH) % 9 == 0, WAVE, 0),
    "with gaps": np.where(np.arange(LENGTH) % 50 < 20, NAN, WAVE),
    "one value": WAVE[:1],
}


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> ExportedForecaster:
    folder = tmp_path_factory.mktemp("model")
    export_any_series(tiny_any_series(), folder)
    return ExportedForecaster(folder)


def fresh(graphs: ExportedForecaster, season: float = NAN) -> np.ndarray:
    return graphs.initial(np.array([[season]], np.float32))


def test_graphs_take_values_and_a_season_and_no_calendar(tmp_path: Path) -> None:
    exported = export_any_series(tiny_any_series(conformal=0.05), tmp_path)
    inputs = {name: [tensor.name for tensor in graph.inputs] for name, graph in exported.graphs.items()}
    assert inputs == {"initial": ["static"], "observe": ["state", "target"], "generate": ["state", "uniforms"]}
    names = [field.name for field in exported.state.fields]
    assert names == [
        "hidden", "cell", "track", "experts", "recent", "history", "anomaly", "conformal", "season"
    ]  # fmt: skip


def test_graphs_load_without_a_warning(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    export_any_series(tiny_any_series(), tmp_path)
    ExportedForecaster(tmp_path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("season", [NAN, 12, 0, 1e20])
@pytest.mark.parametrize("name", SERIES)
def test_awkward_series_are_answered(graphs: ExportedForecaster, name: str, season: float) -> None:
    target = SERIES[name].astype(np.float32)[None]
    found = graphs.run("observe", {"state": fresh(graphs, season), "target": target})
    seen = np.cumsum(~np.isnan(target[0])) - ~np.isnan(target[0]) > 0
    quantiles, score = found["quantiles"][0], found["anomaly_score"][0]
    assert np.isfinite(quantiles[seen]).all() and np.isnan(quantiles[~seen]).all()
    assert (np.diff(quantiles[seen]) >= 0).all()
    told = seen & ~np.isnan(target[0])
    for values in (found["pit"][0], score):
        assert (np.isfinite(values) == told).all() and ((values[told] >= 0) & (values[told] <= 1)).all()
    samples, _ = graphs.generate(found["next_state"], np.full((1, 5), 0.9, np.float32))
    assert np.isfinite(samples).all()


def test_a_first_value_is_followed_by_a_wide_interval_that_narrows(graphs: ExportedForecaster) -> None:
    quantiles, _, _ = graphs.observe(fresh(graphs), np.full((1, 30), 5, np.float32))
    width = quantiles[0, :, -1] - quantiles[0, :, 0]
    assert width[1] > 1 and width[29] < width[1] / 4


def test_a_value_far_out_is_told(graphs: ExportedForecaster) -> None:
    target = WAVE.astype(np.float32)[None].copy()
    target[0, 250] = 500
    score = graphs.run("observe", {"state": fresh(graphs), "target": target})["anomaly_score"][0]
    assert score[250] >= THRESHOLD and (np.delete(score, 250)[1:] < THRESHOLD).all()


def test_the_unit_of_measurement_changes_no_score(graphs: ExportedForecaster) -> None:
    target = WAVE.astype(np.float32)[None]
    small, large = (
        graphs.run("observe", {"state": fresh(graphs), "target": target * np.float32(2.0**power)})
        for power in (-40, 40)
    )
    np.testing.assert_array_equal(small["anomaly_score"], large["anomaly_score"])


def test_a_row_remembers_its_season_and_its_history(graphs: ExportedForecaster) -> None:
    _, _, rows = graphs.observe(fresh(graphs, 12), np.arange(1, 31, dtype=np.float32)[None])
    assert rows[0, -1] == 12
    np.testing.assert_array_equal(rows[0, -25 - MEMORY : -1 - MEMORY], np.arange(7, 31))
