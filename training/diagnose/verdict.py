"""What a diagnosis comes to: one plain sentence, and advice on window, cell, clipping and gates."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from training.diagnose.diagnosis import Diagnosis

SAME_DIRECTION, SIMILAR_DIRECTION = 0.99, 0.95
"""Cosines from which on a truncated gradient counts as good as the full one, and as somewhat off."""
GROWING = 1.005
CLIPPED_OFTEN = 0.5
SATURATED = 0.9


def verdict(found: Diagnosis) -> str:
    """One sentence: how far gradients reach, and whether the window of training is long enough for that."""
    slowest, lag = found.reach.slowest, found.reach.longest_lag
    reach, window = slowest.reach(), found.window
    if slowest.mean[-1] > 1 and slowest.factor > GROWING:
        return (
            f"Gradients grow by {slowest.factor - 1:.1%} with every step back, to {slowest.mean[-1]:.3g} times their "
            f"length after {lag}: they explode, and only clipping holds them."
        )
    if reach is None:
        begin = f"Gradients still hold {slowest.mean[-1]:.1%} of their length after {lag} steps"
        if not window:
            return f"{begin}: nothing is cut off, since windows are whole sequences."
        return f"{begin}: {_window_after_all(found)}."
    begin = f"Gradients fade to 1 % after {_steps(reach)}"
    if not window:
        return f"{begin}: what lies further back teaches the network nothing, though windows are whole sequences."
    if reach <= window:
        return f"{begin}: the window of {window} is long enough."
    return f"{begin}: {_window_after_all(found)}."


def _window_after_all(found: Diagnosis) -> str:
    """Of a gradient that reaches over the window's border: whether that shows in the direction of updates."""
    at = found.truncation.at(found.window)
    if at is None:
        return f"whether the window of {found.window} is long enough takes a longer stretch to tell"
    direction = f"cosine {at.cosine:.3f} with the gradient over {found.truncation.steps} steps"
    if at.cosine >= SAME_DIRECTION:
        return f"they reach past the window of {found.window}, which hardly turns the update ({direction})"
    if at.cosine >= SIMILAR_DIRECTION:
        return f"the window of {found.window} is a little short ({direction})"
    return f"the window of {found.window} is too short ({direction})"


def advice(found: Diagnosis) -> list[str]:
    """What to try, a sentence each; empty where there is nothing to improve."""
    return [*_on_window(found), *_on_cell(found), *_on_clipping(found), *_on_gates(found)]


def _on_window(found: Diagnosis) -> Iterator[str]:
    enough = found.truncation.enough(SAME_DIRECTION)
    at = found.truncation.at(found.window) if found.window else None
    if enough is None and at is not None:
        longest = found.truncation.by_window[-1]
        yield (
            f"Window: try --bptt-length {2 * found.window}; even windows of {longest.window} turn the gradient away "
            f"from that over {found.truncation.steps} steps (cosine {longest.cosine:.3f})."
        )
    elif enough is not None and at is not None and at.cosine < SAME_DIRECTION:
        yield f"Window: --bptt-length {enough} gives the direction of the full gradient (cosine 0.99)."
    elif enough is not None and (not found.window or 2 * enough <= found.window):
        yield (
            f"Window: --bptt-length {enough} would give the same direction already (cosine 0.99); "
            "shorter windows make more updates of the same data."
        )


def _on_cell(found: Diagnosis) -> Iterator[str]:
    reach = found.reach.slowest.reach()
    if found.cell == "RNN" and reach is not None:
        yield (
            f"Cell: a vanilla RNN that learns nothing from more than {_steps(reach)} back; where the data need more, "
            "take --cell LSTM or GRU."
        )


def _on_clipping(found: Diagnosis) -> Iterator[str]:
    norms, share = found.norms.total, found.norms.clipped(found.clip_norm)
    often, longest = np.quantile(norms, 0.9), norms.max()
    when = "updates were" if found.norms_of_training else "windows would be"
    if share is None:
        yield f"Clipping: there is none; --clip-norm {_round(2 * longest)} would cut what is twice the longest seen."
    elif share > CLIPPED_OFTEN:
        yield (
            f"Clipping: {share:.0%} of {when} shortened, so --clip-norm sets their length more than it guards; "
            f"--clip-norm {_round(often)} would cut one in ten."
        )
    elif found.norms_of_training and longest < found.clip_norm / 4:
        yield (
            f"Clipping: nothing seen comes near --clip-norm {found.clip_norm:g}; {_round(2 * longest)}, twice the "
            "longest seen, would guard closer."
        )


def _on_gates(found: Diagnosis) -> Iterator[str]:
    stuck = [f"{gate.name} ({gate.saturated:.0%})" for gate in found.gates if gate.saturated > SATURATED]
    if stuck:
        yield (
            f"Gates: nearly always at their ends, where no gradient passes: {', '.join(stuck)}; "
            "a lower --learning-rate or more --weight-decay keeps them between."
        )


def _steps(count: int) -> str:
    return "1 step" if count == 1 else f"{count} steps"


def _round(value: float) -> str:
    """Two digits, rounded up."""
    digit = 10 ** (math.floor(math.log10(value)) - 1)
    return f"{math.ceil(round(value / digit, 6)) * digit:.2g}"
