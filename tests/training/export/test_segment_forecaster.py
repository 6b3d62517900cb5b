"""The graphs of a segment forecaster: exact in every bit, equal to PyTorch, and with nothing older than the window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from training.export import parity_segments as parity_module  # noqa: E402
from training.export.parity import ParityError  # noqa: E402
from training.export.parity_segments import segment_parity  # noqa: E402
from training.export.runner import ExportedForecaster  # noqa: E402
from training.export.segment_forecaster import export_segment_forecaster  # noqa: E402
from training.networks.segment_ensemble import SegmentEnsemble  # noqa: E402
from training.networks.segment_forecaster import SegmentForecaster, SegmentSettings  # noqa: E402

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
NAN = np.float32("nan")


def settings(**other: Any) -> SegmentSettings:
    values: dict[str, Any] = {"season": 4, "centring": "last", "calendar": ()} | other
    return SegmentSettings(24, 8, 4, 16, 0.0, LEVELS, **values)


def tiny_segments(members: int = 1, **other: Any) -> SegmentForecaster | SegmentEnsemble:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    networks = [SegmentForecaster(settings(**other)).eval() for _ in range(members)]
    return networks[0] if members == 1 else SegmentEnsemble(networks)


@pytest.fixture(autouse=True)
def fewer_comparisons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity_module, "BATCHES", (1, 6))
    monkeypatch.setattr(parity_module, "LENGTHS", (1, 9))


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize(
    "other",
    [
        {},
        {"centring": "mean", "season": 0},
        {"calendar": ("hour_of_day", "day_of_week")},
        {"conformal": 0.05, "centring": "mean"},
        {"conformal": 0.05, "calendar": ("hour_of_day",), "season": 24},
    ],
)
def test_an_export_agrees_with_its_network(members: int, other: dict[str, Any], tmp_path: Path) -> None:
    network = tiny_segments(members, **other)
    verified = segment_parity(network, export_segment_forecaster(network, tmp_path))
    assert 0 < verified.max_abs_error < 1e-5
    assert verified.exported.cell == "GRU"


@pytest.mark.parametrize(
    "parameter", ["embed.weight", "rnn.weight_hh_l0", "rnn.bias_ih_l0", "place", "head.weight", "mixture.weight"]
)
def test_a_network_that_moved_on_after_its_export_is_refused(parameter: str, tmp_path: Path) -> None:
    network = tiny_segments()
    exported = export_segment_forecaster(network, tmp_path)
    with torch.no_grad():
        network.get_parameter(parameter).add_(0.02 * torch.randn(network.get_parameter(parameter).shape))
    with pytest.raises(ParityError, match="differs from PyTorch by"):
        segment_parity(network, exported)


def test_row_holds_the_window_and_what_is_remembered(tmp_path: Path) -> None:
    exported = export_segment_forecaster(tiny_segments(conformal=0.02), tmp_path)
    assert [(field.name, field.shape) for field in exported.state.fields] == [
        ("window", (24,)), ("anomaly", (6,)), ("conformal", (2,))
    ]  # fmt: skip


def test_nothing_is_foretold_before_a_value_and_everything_after_it(tmp_path: Path) -> None:
    export_segment_forecaster(tiny_segments(), tmp_path)
    graphs = ExportedForecaster(tmp_path)
    assert np.isnan(graphs.forecast(graphs.initial())).all()
    quantiles, pit, rows = graphs.observe(graphs.initial(), np.array([[NAN, NAN, 5, NAN, 6]]))
    assert np.isnan(quantiles[0, :3]).all() and np.isfinite(quantiles[0, 3:]).all()
    assert np.isnan(pit[0, :4]).all() and np.isfinite(pit[0, 4])
    ahead = graphs.forecast(rows)
    assert ahead.shape == (1, 8, 5) and np.isfinite(ahead).all() and (np.diff(ahead) > 0).all()


def test_first_step_of_a_forecast_is_what_the_next_observation_is_compared_with(tmp_path: Path) -> None:
    export_segment_forecaster(tiny_segments(2), tmp_path)
    graphs = ExportedForecaster(tmp_path)
    _, _, rows = graphs.observe(graphs.initial(), np.random.default_rng(0).normal(5, 1, (1, 30)).astype(np.float32))
    quantiles, _, _ = graphs.observe(rows, np.array([[5.0]], np.float32))
    np.testing.assert_allclose(graphs.forecast(rows)[:, 0], quantiles[:, 0], rtol=1e-6)


@pytest.mark.parametrize("calendar", [(), ("hour_of_day",)])
def test_row_that_was_filled_forecasts_as_one_that_observed(calendar: tuple[str, ...], tmp_path: Path) -> None:
    export_segment_forecaster(tiny_segments(calendar=calendar), tmp_path)
    graphs = ExportedForecaster(tmp_path)
    target = np.random.default_rng(0).normal(5, 1, (2, 40)).astype(np.float32)
    known = np.zeros((2, 40, 2), np.float32) if calendar else None
    ahead = np.ones((2, 8, 2), np.float32) if calendar else None
    _, _, observed = graphs.observe(graphs.initial(batch=2), target, known)
    filled = graphs.prefill(graphs.initial(batch=2), target, known)
    np.testing.assert_array_equal(graphs.forecast(filled, ahead), graphs.forecast(observed, ahead))


def test_conformal_factors_cannot_be_filled_in(tmp_path: Path) -> None:
    export_segment_forecaster(tiny_segments(conformal=0.02), tmp_path)
    assert not ExportedForecaster(tmp_path).can_prefill


def test_what_lies_before_the_window_is_forgotten(tmp_path: Path) -> None:
    export_segment_forecaster(tiny_segments(), tmp_path)
    graphs = ExportedForecaster(tmp_path)
    recent = np.random.default_rng(0).normal(5, 1, (1, 24)).astype(np.float32)
    _, _, alone = graphs.observe(graphs.initial(), recent)
    _, _, after = graphs.observe(graphs.initial(), np.concatenate([1e6 * recent, recent], axis=1))
    np.testing.assert_array_equal(graphs.forecast(alone), graphs.forecast(after))


@pytest.mark.parametrize("factor", [1e-12, 1.0, 1e12])
def test_unit_of_measurement_scales_the_answer(factor: float, tmp_path: Path) -> None:
    export_segment_forecaster(tiny_segments(), tmp_path)
    graphs = ExportedForecaster(tmp_path)
    target = np.random.default_rng(0).normal(10, 2, (1, 30)).astype(np.float32)
    found = [
        graphs.forecast(graphs.observe(graphs.initial(), target * np.float32(by))[2]) / np.float32(by)
        for by in (1.0, factor)
    ]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4)


def test_graphs_say_which_levels_they_tell(tmp_path: Path) -> None:
    export_segment_forecaster(tiny_segments(), tmp_path)
    graphs = ExportedForecaster(tmp_path)
    assert (graphs.prediction_length, graphs.levels) == (8, LEVELS)
