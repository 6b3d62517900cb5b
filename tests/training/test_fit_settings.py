"""Settings that cannot work are refused by the name of their flag."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")

from training.errors import TrainingError
from training.fit import FitSettings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("max_seconds", 0.0),
        ("bptt_length", -1),
        ("bptt_stride", 65),
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("momentum", 1.0),
        ("weight_decay", -0.1),
        ("final_rate", 1.5),
        ("decay_factor", 0.0),
        ("step_epochs", 0),
        ("clip_norm", -1.0),
        ("patience", 0),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(TrainingError, match=f"^{name.replace('_', '-')}: expected .*, got "):
        FitSettings(**{name: value})


def test_a_stride_is_fine_where_the_window_is_the_whole_sequence() -> None:
    assert FitSettings(bptt_length=0, bptt_stride=16).bptt_stride == 16
