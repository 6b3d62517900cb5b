"""The verdict says in one sentence what the numbers say."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import numpy as np

from training.diagnose.diagnosis import Diagnosis
from training.diagnose.gradient_norms import GradientNorms
from training.diagnose.gradient_reach import Curve, GradientReach
from training.diagnose.truncation_bias import TruncatedGradient, TruncationBias
from training.diagnose.verdict import advice, verdict
from training.networks.recurrence import Cell


def diagnosis(
    factor: float,
    window: int = 64,
    cosines: dict[int, float] | None = None,
    *,
    cell: Cell = "LSTM",
    clip: float = 1.0,
    norm: float = 0.5,
) -> Diagnosis:
    """One whose gradient is multiplied by `factor` at each of 256 steps back."""
    norms = np.power(factor, np.arange(257.0))[:, None]
    cosines = cosines if cosines is not None else {16: 0.99, 64: 0.999}
    bias = TruncationBias(257, tuple(TruncatedGradient(length, cosine, 1.0) for length, cosine in cosines.items()))
    return Diagnosis(
        *("a model", cell, window, clip, GradientReach((Curve("hidden", norms),), ()), bias, ()),
        *(GradientNorms(np.arange(10), {}, np.full(10, norm)), True),
    )


def test_a_gradient_that_fades_within_the_window_leaves_it_long_enough() -> None:
    assert verdict(diagnosis(0.8)) == "Gradients fade to 1 % after 21 steps: the window of 64 is long enough."


def test_a_gradient_that_reaches_past_the_window_makes_it_too_short_where_it_turns_the_update() -> None:
    assert verdict(diagnosis(0.95, cosines={64: 0.9})) == (
        "Gradients fade to 1 % after 90 steps: the window of 64 is too short "
        "(cosine 0.900 with the gradient over 257 steps)."
    )
    assert "the window of 64 is a little short (cosine 0.970" in verdict(diagnosis(0.95, cosines={64: 0.97}))
    assert "reach past the window of 64, which hardly turns the update" in verdict(diagnosis(0.95))


def test_a_gradient_that_neither_fades_nor_grows_is_said_to_hold() -> None:
    said = verdict(diagnosis(0.9999, cosines={64: 0.5}))
    assert said.startswith("Gradients still hold 97.5% of their length after 256 steps: the window of 64 is too short")
    assert verdict(diagnosis(0.9999, window=0)).endswith("nothing is cut off, since windows are whole sequences.")


def test_a_gradient_that_grows_explodes() -> None:
    assert verdict(diagnosis(1.05)).startswith("Gradients grow by 5.0% with every step back, to 2.66e+05 times")


def test_windows_of_whole_sequences_can_fade_too() -> None:
    assert verdict(diagnosis(0.5, window=0)).startswith("Gradients fade to 1 % after 7 steps: what lies further back")


def test_advice_names_the_window_that_is_enough() -> None:
    assert advice(diagnosis(0.95, cosines={64: 0.9, 128: 0.995}))[0].startswith("Window: --bptt-length 128 gives")
    assert advice(diagnosis(0.5, cosines={4: 0.9, 8: 0.999, 64: 1.0}))[0].startswith("Window: --bptt-length 8 would")
    assert advice(diagnosis(0.99, cosines={64: 0.9, 128: 0.95}))[0].startswith("Window: try --bptt-length 128; even")
    assert advice(diagnosis(0.9, cosines={32: 0.98, 64: 0.995})) == []


def test_advice_names_a_cell_that_remembers_for_longer() -> None:
    assert any("--cell LSTM or GRU" in said for said in advice(diagnosis(0.5, cell="RNN")))


def test_advice_on_clipping_follows_from_the_norms() -> None:
    def said(clip: float, norm: float) -> str:
        return next(line for line in advice(diagnosis(0.9, clip=clip, norm=norm)) if line.startswith("Clipping"))

    assert "there is none; --clip-norm 1 would cut" in said(0, 0.5)
    assert "100% of updates were shortened" in said(0.1, 0.5) and "--clip-norm 0.5 would cut one in ten" in said(
        0.1, 0.5
    )
    assert "nothing seen comes near --clip-norm 10; 1, twice the longest" in said(10, 0.5)
    assert "--clip-norm 1.5 would cut one in ten" in said(1, 1.48)  # never below what it is to let through
    assert not any(line.startswith("Clipping") for line in advice(diagnosis(0.9, clip=1, norm=0.5)))
