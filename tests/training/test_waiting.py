"""A bar is for terminals; elsewhere nothing is written."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from training.waiting import waiting


def test_nothing_is_written_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with waiting("forecasting") as advanced:
        advanced(0.5)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")
