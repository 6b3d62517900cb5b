"""Tasks that need a memory of known length: whoever does better than chance has carried something over the lag.

    copy             symbols, then blanks for the lag, then a cue for each: say them again, in order
    adding           numbers, two of them marked, one in each half: say the sum of the two at the end
    delayed recall   a symbol, then distracting symbols for the lag, then a cue: say the first
    sine phase       the beginning of a sine wave, then nothing for the lag: say the phase it began with

The first two are those of Hochreiter and Schmidhuber (1997), in the form of Arjovsky, Shah and Bengio (2016); the
third is the latch of Bengio, Simard and Frasconi (1994) with more than two symbols. Every batch is drawn afresh, so
that what is measured while training was never seen before. Shapes: B batch, T time, I inputs per step, O outputs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.bptt import Window

Array = NDArray[np.float32]
SOLVED = 0.05
"""A task counts as solved when its error has fallen to this share of chance."""


class LongMemoryTask(ABC):
    """Sequences of any lag, their loss, and an error that is known without memory."""

    name: str
    inputs: int
    """I"""
    outputs: int
    """O"""
    chance: float
    """The least error of an answer that knows nothing of what was to be remembered."""

    @abstractmethod
    def arrays(self, lag: int, batch: int, random: np.random.Generator) -> tuple[Array, Array]:
        """Inputs (B, T, I) and targets (B, T) or (B, T, O), NaN where nothing is asked."""

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of outputs (B, T, O) where something is asked."""

    @abstractmethod
    def error(self, outputs: Tensor, targets: Tensor) -> float:
        """Mean error where something is asked: the share of wrong symbols, or the squared error."""

    def draw(self, lag: int, batch: int, random: np.random.Generator) -> Window:
        """A batch of new sequences, each from an empty state."""
        inputs, targets = self.arrays(lag, batch, random)
        return Window(torch.from_numpy(inputs), torch.from_numpy(targets), torch.ones(batch, dtype=torch.bool))

    def __str__(self) -> str:
        return self.name


class SymbolTask(LongMemoryTask, ABC):
    """The answer is a symbol: softmax, cross-entropy, share of wrong symbols."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        asked = ~torch.isnan(targets)
        return nn.functional.cross_entropy(outputs[asked], targets[asked].long())

    def error(self, outputs: Tensor, targets: Tensor) -> float:
        asked = ~torch.isnan(targets)
        return float((outputs[asked].argmax(-1) != targets[asked].long()).float().mean())


class NumberTask(LongMemoryTask, ABC):
    """The answer is numbers: squared error."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        targets = targets.view(outputs.shape)
        asked = ~torch.isnan(targets)
        return nn.functional.mse_loss(outputs[asked], targets[asked])

    def error(self, outputs: Tensor, targets: Tensor) -> float:
        return float(self.loss(outputs, targets))


class Copy(SymbolTask):
    """`length` symbols, blanks, then cues. The time between a symbol and its answer is lag + length.

    Literature has ten of eight symbols, which takes tens of thousands of updates; three of four are as hard to
    remember for long, and quicker to learn.
    """

    name = "copy"

    def __init__(self, symbols: int = 4, length: int = 3) -> None:
        self.symbols, self.length = symbols, length
        self.inputs, self.outputs = symbols + 2, symbols
        self.chance = 1 - 1 / symbols

    def arrays(self, lag: int, batch: int, random: np.random.Generator) -> tuple[Array, Array]:
        steps = 2 * self.length + lag
        said = random.integers(self.symbols, size=(batch, self.length))
        tokens = np.full((batch, steps), self.symbols)  # blank
        tokens[:, : self.length] = said
        tokens[:, -self.length :] = self.symbols + 1  # cue
        targets = np.full((batch, steps), np.nan, np.float32)
        targets[:, -self.length :] = said
        return _one_hot(tokens, self.inputs), targets


class Adding(NumberTask):
    """`lag` steps of a number in [0, 1) and a mark; the sum of the two that are marked is asked at the last.

    Without memory the best answer is 1, whose squared error is the variance of the sum, 1/6.
    """

    name = "adding"
    inputs, outputs = 2, 1
    chance = 1 / 6

    def arrays(self, lag: int, batch: int, random: np.random.Generator) -> tuple[Array, Array]:
        numbers, marks = random.random((batch, lag), np.float32), np.zeros((batch, lag), np.float32)
        rows, half = np.arange(batch), lag // 2
        first, second = random.integers(half, size=batch), random.integers(half, lag, size=batch)
        marks[rows, first] = marks[rows, second] = 1
        targets = np.full((batch, lag), np.nan, np.float32)
        targets[:, -1] = numbers[rows, first] + numbers[rows, second]
        return np.stack([numbers, marks], -1), targets


class DelayedRecall(SymbolTask):
    """A symbol, `lag` distractors of another alphabet, a cue; the symbol is asked at the cue."""

    name = "delayed recall"

    def __init__(self, symbols: int = 4, distractors: int = 4) -> None:
        self.symbols, self.distractors = symbols, distractors
        self.inputs, self.outputs = symbols + distractors + 1, symbols
        self.chance = 1 - 1 / symbols

    def arrays(self, lag: int, batch: int, random: np.random.Generator) -> tuple[Array, Array]:
        tokens = random.integers(self.symbols, self.symbols + self.distractors, size=(batch, lag + 2))
        tokens[:, 0] = random.integers(self.symbols, size=batch)
        tokens[:, -1] = self.inputs - 1  # cue
        targets = np.full((batch, lag + 2), np.nan, np.float32)
        targets[:, -1] = tokens[:, 0]
        return _one_hot(tokens, self.inputs), targets


class SinePhase(NumberTask):
    """Half a period of a sine wave of unknown phase, `lag` steps of nothing, a cue; sine and cosine of the phase asked.

    Without memory the best answer is zero, whose squared error is 1/2.
    """

    name = "sine phase"
    inputs, outputs = 2, 2
    chance = 1 / 2
    shown, period = 5, 10

    def arrays(self, lag: int, batch: int, random: np.random.Generator) -> tuple[Array, Array]:
        phase = random.uniform(0, 2 * np.pi, (batch, 1))
        inputs = np.zeros((batch, self.shown + lag + 1, self.inputs), np.float32)
        inputs[:, : self.shown, 0] = np.sin(phase + 2 * np.pi / self.period * np.arange(self.shown))
        inputs[:, -1, 1] = 1  # cue
        targets = np.full((*inputs.shape[:2], self.outputs), np.nan, np.float32)
        targets[:, -1] = np.concatenate([np.sin(phase), np.cos(phase)], -1)
        return inputs, targets


def _one_hot(tokens: NDArray[np.int64], width: int) -> Array:
    return np.eye(width, dtype=np.float32)[tokens]


TASKS: tuple[LongMemoryTask, ...] = (Copy(), Adding(), DelayedRecall(), SinePhase())
