"""The textbook's figures show what can be known without drawing them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from benchmarks import textbook_figures


def test_without_input_a_gradient_is_multiplied_by_the_radius_at_each_step() -> None:
    norms = textbook_figures.reach("RNN", seed=1, radius=0.9, size=0)
    np.testing.assert_allclose(norms, 0.9 ** np.arange(textbook_figures.LAGS + 1), rtol=1e-9)


def test_both_figures_are_drawn_and_their_numbers_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(textbook_figures, "UPDATES", 500)
    textbook_figures.main(["--folder", str(tmp_path)])
    assert {path.name for path in tmp_path.iterdir()} == {"vanishing.png", "clipping.png"}
    printed = capsys.readouterr().out
    assert "| radius 1.1 | 1.1e+00 |" in printed and "| clipped at 1 |" in printed
