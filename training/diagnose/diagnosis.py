"""All measurements of one network in one record, and the order in which they are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from training.bptt import Window, start_anew
from training.diagnose.gate_saturation import Gate, gate_saturation
from training.diagnose.gradient_norms import GradientNorms, window_norms
from training.diagnose.gradient_reach import GradientReach, gradient_reach
from training.diagnose.subject import Streams, Subject
from training.diagnose.training_history import training_norms
from training.diagnose.truncation_bias import TruncationBias, truncation_bias
from training.networks.recurrence import Cell, Recurrence, State

NORM_WINDOWS = 40
LONGEST_DEFAULT = 256


@dataclass(frozen=True)
class Diagnosis:
    """What was found about one network."""

    name: str
    cell: Cell
    window: int
    """Steps per window in training; 0 for whole sequences."""
    clip_norm: float
    """Longest gradient in training; 0 for as it comes."""
    reach: GradientReach
    truncation: TruncationBias
    gates: tuple[Gate, ...]
    norms: GradientNorms
    norms_of_training: bool
    """Whether `norms` are of the updates of training, or of windows at the weights as they are."""


def diagnose(
    subject: Subject, steps: int = 0, sequences: int = 32, advanced: Callable[[float], None] = lambda share: None
) -> Diagnosis:
    """Measure everything about a network.

    Args:
        steps: longest lag; 0 for four windows of training, within 64 to 256.
        sequences: over which the reach is averaged; truncation and gates are measured on half of them.
        advanced: told the share that is done.
    """
    window = subject.fit.bptt_length
    steps = steps or min(max(4 * window, 64), LONGEST_DEFAULT)
    recurrence = subject.network.recurrence
    assert isinstance(recurrence, Recurrence)
    streams = subject.streams(sequences, steps + 1)
    stretch, state = _warmed(subject, streams)
    reach = gradient_reach(subject.network, subject.loss, stretch, state)
    advanced(0.4)
    half = max(streams.batch_size // 2, 1)
    stretch, state = stretch.columns(0, half), tuple(part[:, :half] for part in state)
    gates = gate_saturation(subject.network, stretch, state)
    advanced(0.5)
    lengths = [window, *(1 << power for power in range(10))]
    truncation = truncation_bias(subject.network, subject.loss, stretch, state, lengths)
    advanced(0.8)
    norms = training_norms(subject.run) if subject.run is not None else None
    return Diagnosis(
        name=subject.name,
        cell=recurrence.cell,
        window=window,
        clip_norm=subject.fit.clip_norm,
        reach=reach,
        truncation=truncation,
        gates=gates,
        norms=norms or _norms_now(subject),
        norms_of_training=norms is not None,
    )


def _warmed(subject: Subject, streams: Streams) -> tuple[Window, State]:
    """The second window of the streams where there is one, with the state that the first left; the first otherwise."""
    recurrence = subject.network.recurrence
    assert isinstance(recurrence, Recurrence)
    first = streams.window(0, 0)
    initial = state = recurrence.initial_state(first.resets.shape[0])
    if streams.windows_per_epoch == 1:
        return first, state
    with torch.no_grad():
        _, state = subject.network(first.inputs, state)
    second = streams.window(0, 1)
    return second, start_anew(state, second.resets, initial)


def _norms_now(subject: Subject) -> GradientNorms:
    fit = subject.fit
    streams = subject.streams(fit.batch_size, fit.bptt_length)

    def windows() -> Iterator[Window]:
        for index in range(min(NORM_WINDOWS, streams.windows_per_epoch)):
            yield streams.window(0, index)

    recurrence = subject.network.recurrence
    assert isinstance(recurrence, Recurrence)
    state = recurrence.initial_state(streams.window(0, 0).resets.shape[0])
    return window_norms(subject.network, subject.loss, windows(), state, 0)
