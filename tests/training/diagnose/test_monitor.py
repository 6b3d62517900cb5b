"""A watched fit goes as one that is not watched, and TensorBoard has what `diagnose` measures."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: E402

from tests.training.tiny import CYCLE, fit_tiny, tiny_network  # noqa: E402
from training.data.text import TextStreams  # noqa: E402
from training.diagnose.monitor import SHARE_OF_TIME, GradientMonitor  # noqa: E402
from training.diagnose.training_history import training_norms  # noqa: E402
from training.evaluation.text_metrics import next_token_loss  # noqa: E402
from training.fit import FitSettings  # noqa: E402

SETTINGS = FitSettings(epochs=2, bptt_length=12, batch_size=4, learning_rate=0.02, warmup_steps=4, threads=1)


def test_a_fit_that_is_watched_goes_as_one_that_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = fit_tiny(tiny_network(), SETTINGS, tmp_path / "watched")
    monkeypatch.setattr(GradientMonitor, "due", lambda self, seconds: False)
    alone = fit_tiny(tiny_network(), SETTINGS, tmp_path / "alone")
    assert [record.train_loss for record in watched.history] == [record.train_loss for record in alone.history]


def test_tensorboard_has_norms_by_layer_reach_gates_truncation_and_the_share_clipped(tmp_path: Path) -> None:
    result = fit_tiny(tiny_network(), SETTINGS, tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert {
        "gradient_norm/recurrence_1",
        "gradient_flow/hidden/lag_8",
        "gradient_flow/cell/per_step",
        "saturation/forget",
        "truncation/window_6/cosine",
        "epoch/clipped_share",
    } <= set(tags["scalars"])
    assert "gates/forget" in tags["histograms"]
    assert 0 < events.Scalars("truncation/window_6/cosine")[0].value < 1
    assert events.Scalars("epoch/clipped_share")[0].value == pytest.approx(result.history[0].clipped_share)
    norms = training_norms(tmp_path)
    assert norms is not None and norms.by_layer.keys() == {"embedding", "recurrence 1", "output"}
    assert len(norms.steps) == len(norms.total) == 2 * (479 // 4 // 12) // 10


def test_a_run_without_events_has_no_history(tmp_path: Path) -> None:
    assert training_norms(tmp_path) is None


def test_measuring_keeps_within_its_share_of_the_time() -> None:
    monitor = GradientMonitor(tiny_network(), next_token_loss, TextStreams(CYCLE, 4, 12))
    assert monitor.due(0)
    monitor.measure()
    assert monitor.spent > 0 and not monitor.due(monitor.spent)
    assert monitor.due(monitor.spent / SHARE_OF_TIME)


def test_a_stretch_with_nothing_scored_is_not_measured() -> None:
    network, streams = tiny_network(), TextStreams(CYCLE, 4, 12)
    window = streams.window(0, 0)
    streams.window = lambda epoch, index: window._replace(targets=torch.full((4, 12), torch.nan))  # type: ignore
    assert GradientMonitor(network, next_token_loss, streams).measure().scalars == {}
