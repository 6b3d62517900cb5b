"""Lengths of time become steps."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from service.contract.frequency import Frequency
from training.data.series import parse_steps
from training.errors import TrainingError


@pytest.mark.parametrize(
    ("text", "frequency", "steps"),
    [("672", "1h", 672), ("4W", "1h", 672), ("13W", "D", 91), ("1h", "15min", 4), ("2Y", "MS", 24), ("1W", "W", 1)],
)
def test_lengths_are_steps_or_times(text: str, frequency: str, steps: int) -> None:
    assert parse_steps(text, Frequency.parse(frequency)) == steps


@pytest.mark.parametrize(
    ("text", "message"), [("soon", "expected steps or a time"), ("1D", "whole number of steps of 1W")]
)
def test_lengths_that_do_not_fit_are_refused(text: str, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        parse_steps(text, Frequency.parse("W"))
