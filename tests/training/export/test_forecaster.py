"""The graphs of a forecaster: what they take, give and remember, and what they do with missing values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

pytest.importorskip("torch")

from tests.training.export.tiny import CELLS, LEVELS, tiny_forecaster
from training.export.forecaster import export_forecaster
from training.export.runner import ExportedForecaster
from training.networks.anomaly_likelihood import MEMORY, THRESHOLD, AnomalySettings, initial_memory
from training.networks.recurrence import Cell

NAN = np.float32("nan")


def test_row_holds_recurrence_statistics_history_memory_and_static_covariates(tmp_path: Path) -> None:
    exported = export_forecaster(tiny_forecaster("LSTM", 2, rich=True), tmp_path)
    assert [(field.name, field.shape) for field in exported.state.fields] == [
        ("hidden", (2, 6)), ("cell", (2, 6)), ("statistics", (3,)), ("history", (7,)), ("anomaly", (6,)),
        ("static", (4,)),
    ]  # fmt: skip
    assert (exported.minimum_batch, exported.cell) == (1, "LSTM")


def test_row_holds_conformal_factors_where_there_is_a_rate(tmp_path: Path) -> None:
    exported = export_forecaster(tiny_forecaster(conformal=0.05), tmp_path)
    assert [field.name for field in exported.state.fields][-2:] == ["anomaly", "conformal"]
    assert ExportedForecaster(tmp_path).initial()[0, -2:].tolist() == [1, 1]


def test_graphs_take_what_the_settings_name_and_nothing_else(tmp_path: Path) -> None:
    plain = export_forecaster(tiny_forecaster(), tmp_path / "plain", unit="MW").graphs
    rich = export_forecaster(tiny_forecaster(rich=True), tmp_path / "rich").graphs
    assert [tensor.name for tensor in plain["observe"].inputs] == ["state", "target"]
    assert plain["initial"].inputs == ()
    assert [(tensor.name, tensor.shape) for tensor in rich["generate"].inputs][1:] == [
        ("uniforms", ("B", "T")), ("calendar", ("B", "T", 4)), ("covariates", ("B", "T", 2))
    ]  # fmt: skip
    assert [tensor.shape for tensor in rich["initial"].inputs] == [("B", 2)]
    assert [(tensor.name, tensor.unit) for tensor in plain["observe"].outputs][:3] == [
        ("quantiles", "MW"),
        ("pit", None),
        ("anomaly_score", None),
    ]


@pytest.mark.parametrize("rich", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_graphs_load_without_a_warning(
    cell: Cell, rich: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    export_forecaster(tiny_forecaster(cell, 2, rich=rich), tmp_path)
    ExportedForecaster(tmp_path)
    assert capfd.readouterr() == ("", "")


def test_recurrent_weights_are_constants_in_the_weights_file(tmp_path: Path) -> None:
    export_forecaster(tiny_forecaster(), tmp_path)
    for name in ("observe", "generate"):
        graph = onnx.load(tmp_path / f"{name}.onnx", load_external_data=False).graph
        outside = {tensor.name for tensor in graph.initializer if tensor.external_data}
        assert outside == {"recurrence.0.W", "recurrence.0.R", "recurrence.0.B", "head.matrix"}
        assert not outside & {value.name for value in graph.input}


def test_nothing_is_foretold_before_the_first_observation(tmp_path: Path) -> None:
    export_forecaster(tiny_forecaster(), tmp_path)
    graphs = ExportedForecaster(tmp_path)
    quantiles, pit, rows = graphs.observe(graphs.initial(), np.array([[NAN, NAN, 5, 6, NAN, 7]]))
    assert np.isnan(quantiles[0, :3]).all() and np.isfinite(quantiles[0, 3:]).all()
    assert np.isnan(pit[0, [0, 1, 2, 4]]).all() and np.isfinite(pit[0, [3, 5]]).all()
    np.testing.assert_array_equal(rows[0, -5 - MEMORY : -MEMORY], [NAN, 5, 6, NAN, 7])
    samples, _ = graphs.generate(graphs.initial(), np.full((1, 3), 0.5, np.float32))
    assert np.isnan(samples).all()


def test_anomaly_score_is_missing_where_pit_is_and_high_for_what_nobody_expected(tmp_path: Path) -> None:
    export_forecaster(tiny_forecaster(), tmp_path)
    graphs = ExportedForecaster(tmp_path)
    target = np.random.default_rng(0).normal(10, 2, (1, 300)).astype(np.float32)
    target[0, [0, 7, 8]] = NAN
    target[0, 250] = 500
    found = graphs.run("observe", {"state": graphs.initial(), "target": target})
    scores = found["anomaly_score"][0]
    np.testing.assert_array_equal(np.isnan(scores), np.isnan(found["pit"][0]))
    assert scores[250] > THRESHOLD
    assert np.nanmax(np.delete(scores, 250)) < THRESHOLD


@pytest.mark.parametrize("conformal", [0.0, 0.3])
def test_pit_says_where_a_value_fell_among_the_quantiles(conformal: float, tmp_path: Path) -> None:
    export_forecaster(tiny_forecaster(conformal=conformal), tmp_path)
    graphs = ExportedForecaster(tmp_path)
    _, _, rows = graphs.observe(graphs.initial(), np.array([[3.0, 5, 4, 6, 5]], np.float32))
    quantiles, _, _ = graphs.observe(rows, np.array([[5.0]], np.float32))
    for level, value in zip(LEVELS, quantiles[0, 0], strict=True):
        _, pit, _ = graphs.observe(rows, np.array([[value]]))
        assert pit[0, 0] == pytest.approx(level, abs=1e-4)


@pytest.mark.parametrize("conformal", [0.0, 0.3])
def test_samples_are_the_quantiles_at_their_uniforms(conformal: float, tmp_path: Path) -> None:
    export_forecaster(tiny_forecaster(conformal=conformal), tmp_path)
    graphs = ExportedForecaster(tmp_path)
    _, _, rows = graphs.observe(graphs.initial(), np.array([[3.0, 5, 4, 6, 5]], np.float32))
    quantiles, _, _ = graphs.observe(rows, np.array([[5.0]], np.float32))
    samples, _ = graphs.generate(np.repeat(rows, 5, axis=0), np.array(LEVELS, np.float32)[:, None])
    np.testing.assert_allclose(samples[:, 0], quantiles[0, 0], rtol=1e-5)


def test_intervals_adapt_to_a_stream_that_they_miss(tmp_path: Path) -> None:
    export_forecaster(tiny_forecaster(conformal=0.05), tmp_path)
    graphs = ExportedForecaster(tmp_path)
    target = np.random.default_rng(0).standard_t(2, (1, 3000)).astype(np.float32)
    quantiles, pit, _ = graphs.observe(graphs.initial(), target)
    lowest, highest = LEVELS[0], LEVELS[-1]  # tiny's levels nearest to .1 and .9
    inside = (pit[0, 1000:] > lowest) & (pit[0, 1000:] < highest)
    assert inside.mean() == pytest.approx(highest - lowest, abs=0.01)
    assert (np.diff(quantiles[0, 1:]) > 0).all()


def test_unit_of_measurement_scales_the_answer_and_nothing_else(tmp_path: Path) -> None:
    export_forecaster(tiny_forecaster(), tmp_path)
    graphs = ExportedForecaster(tmp_path)
    target = np.random.default_rng(0).normal(10, 2, (1, 30)).astype(np.float32)
    small, large = (graphs.observe(graphs.initial(), target * factor) for factor in (np.float32(1), np.float32(1024)))
    np.testing.assert_array_equal(small[0] * 1024, large[0])
    np.testing.assert_array_equal(small[1], large[1])


def test_initial_rows_carry_the_encoded_static_covariates(tmp_path: Path) -> None:
    export_forecaster(tiny_forecaster(rich=True), tmp_path)
    rows = ExportedForecaster(tmp_path).initial(np.array([[12, 1], [NAN, -1]], np.float32))
    np.testing.assert_array_equal(rows[:, -4:], [[1, 0, 1, 0], [0, 0, 0, 0]])
    assert (rows[:, :15] == 0).all() and np.isnan(rows[:, 15:22]).all()
    np.testing.assert_array_equal(rows[:, 22 : 22 + MEMORY], [initial_memory(AnomalySettings())] * 2)
