"""Labelled sequences as windows: each column holds one sequence from its begin to its end, then the next.

    batch of B sequences, about as long     window 0  window 1   next batch
    column 0   K o w a l s k i             |K o w|a l s k i|   |A b e …
    column 1   P o t o c k i ·             |P o t|o c k i ·|   |B a i …
                                            ▲ state anew         ▲ state anew

Windows are counted from the end of a batch's longest sequence, so that the first is the one cut short: the gradient of
its last step, often the only one scored, goes back over a whole window, and that of a sequence shorter by some steps
over so many fewer.

Targets are class numbers where a step is scored and NaN where it is not: before the last step, where a label is that
of the whole sequence, and after the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from training.bptt import Window
from training.data.labelled import Labelled
from training.data.tokenizers import TokenizerKind, encode
from training.errors import TrainingError

Scored = Literal["last", "every"]


class Example(NamedTuple):
    """Tokens (T,), and targets (T,): the class number where the step is scored, NaN elsewhere."""

    tokens: NDArray[np.int64]
    targets: NDArray[np.float32]


def examples_of(
    sequences: Sequence[Labelled],
    classes: Sequence[str],
    tokenizer: Tokenizer,
    kind: TokenizerKind,
    scored: Scored = "last",
) -> list[Example]:
    """Tokens and targets of sequences.

    Args:
        scored: where a label is that of a whole sequence, the steps whose answers have to be it.

    Raises:
        TrainingError: labels of characters, and tokens that are something else.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    return [_example(sequence, numbers, encode(tokenizer, kind, sequence.text), scored) for sequence in sequences]


def _example(sequence: Labelled, numbers: dict[str, int], tokens: NDArray[np.int64], scored: Scored) -> Example:
    labels = [numbers[label] for label in sequence.labels]
    targets = np.full(len(tokens), np.nan, np.float32)
    if len(labels) > 1:
        if len(labels) != len(tokens):
            raise TrainingError(
                f"tokenizer: expected a token for each of {len(labels)} labelled characters, got {len(tokens)}: "
                "use --tokenizer char, without --lowercase"
            )
        targets[:] = labels
    elif scored == "every":
        targets[:] = labels[0]
    else:
        targets[-1] = labels[0]
    return Example(tokens, targets)


class LabelledStreams:
    """Windows over labelled sequences, B side by side; every sequence once in an epoch.

    Args:
        length: steps of a window, the first of a batch perhaps shorter; 0 takes sequences whole. Sequences of a batch
            are about as long, so that little is filled up; which of the equally long ones go together, and the order
            of the batches, is drawn anew in every epoch.
        unknown_token: what a share of the tokens is replaced by, anew in every epoch, so that the network has seen it
            when a character comes that no training sequence has; None where there is no such token.
        prefix_share: of the targets before a sequence's last, those that are kept, drawn anew in every epoch. Of a
            label of the whole sequence, which every prefix bears, a few are enough to answer as it arrives, and do
            not outweigh the last.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        batch_size: int,
        length: int = 0,
        seed: int = 0,
        unknown_token: int | None = None,
        unknown_share: float = 0.0,
        prefix_share: float = 1.0,
    ) -> None:
        self.examples, self.batch_size, self.seed = examples, batch_size, seed
        self.unknown_token, self.unknown_share, self.prefix_share = unknown_token, unknown_share, prefix_share
        self._lengths = np.array([len(example.tokens) for example in examples])
        longest = np.sort(self._lengths)[batch_size - 1 :: batch_size].tolist()
        if len(examples) % batch_size:
            longest.append(int(self._lengths.max()))
        self._longest: list[int] = longest
        self._piece = length or int(self._lengths.max())
        self._counts = [math.ceil(steps / self._piece) for steps in longest]
        self.windows_per_epoch = sum(self._counts)
        self._epoch, self._plan = -1, list[tuple[NDArray[np.intp], int, int]]()

    def window(self, epoch: int, index: int) -> Window:
        """Window `index` of an epoch: tokens (B, T), targets (B, T), resets (B,)."""
        if epoch != self._epoch:
            self._epoch, self._plan = epoch, self._order(epoch)
        members, batch, piece = self._plan[index]
        stop = self._longest[batch] - (self._counts[batch] - 1 - piece) * self._piece
        start = max(stop - self._piece, 0)
        tokens = np.zeros((self.batch_size, stop - start), np.int64)
        targets = np.full((self.batch_size, stop - start), np.nan, np.float32)
        for column, member in enumerate(members):
            example = self.examples[member]
            part = example.tokens[start:stop]
            tokens[column, : len(part)] = part
            targets[column, : len(part)] = example.targets[start:stop]
        random = np.random.default_rng((self.seed, epoch, index))
        if self.unknown_token is not None and self.unknown_share:
            tokens[random.random(tokens.shape) < self.unknown_share] = self.unknown_token
        if self.prefix_share < 1:
            lasts = np.zeros(len(targets), np.int64)
            lasts[: len(members)] = self._lengths[members]
            before = start + np.arange(stop - start) < lasts[:, None] - 1  # (B, T)
            targets[before & (random.random(targets.shape) >= self.prefix_share)] = np.nan
        resets = torch.full((self.batch_size,), piece == 0)
        return Window(torch.from_numpy(tokens), torch.from_numpy(targets), resets)

    def _order(self, epoch: int) -> list[tuple[NDArray[np.intp], int, int]]:
        """For each window of the epoch: the sequences of its batch, the batch's number, and which piece it is."""
        random = np.random.default_rng((self.seed, epoch))
        shuffled = random.permutation(len(self.examples))
        by_length = shuffled[np.argsort(self._lengths[shuffled], kind="stable")]
        size = self.batch_size
        return [
            (by_length[batch * size : (batch + 1) * size], batch, piece)
            for batch in random.permutation(len(self._longest)).tolist()
            for piece in range(self._counts[batch])
        ]
