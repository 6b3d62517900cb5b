"""A network that tells classes apart: embedding, recurrence, softmax over the classes after every step.

Shapes: B batch, T time, V vocabulary, E embedding, H hidden, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from training.networks.recurrence import Cell, Recurrence, State


@dataclass(frozen=True)
class ClassifierSettings:
    """What a classifier is made of; vocabulary and classes come from the data."""

    cell: Cell = field(default="LSTM", metadata={"help": "recurrent cell"})
    hidden_size: int = field(default=128, metadata={"help": "units per recurrent layer", "min": 1})
    layers: int = field(default=1, metadata={"help": "recurrent layers", "min": 1})
    embedding_size: int = field(default=32, metadata={"help": "numbers per token on the way in", "min": 1})
    dropout: float = field(default=0.2, metadata={"help": "on embeddings, between layers and on outputs"})
    recurrent_dropout: float = field(default=0.0, metadata={"help": "on hidden-to-hidden weights (DropConnect)"})


class Classifier(nn.Module):
    """Logits of every class after every token, and the state to continue from.

    The same head answers after each step: a label of the whole sequence is its answer after the last one.
    """

    def __init__(self, vocabulary_size: int, classes: int, settings: ClassifierSettings) -> None:
        super().__init__()
        self.settings = settings
        self.vocabulary_size = vocabulary_size
        self.classes = classes
        self.embedding = nn.Embedding(vocabulary_size, settings.embedding_size)
        self.dropout = nn.Dropout(settings.dropout)
        self.recurrence = Recurrence(
            *(settings.cell, settings.embedding_size, settings.hidden_size, settings.layers),
            dropout=settings.dropout,
            recurrent_dropout=settings.recurrent_dropout,
        )
        self.output = nn.Linear(settings.hidden_size, classes)
        nn.init.zeros_(self.output.bias)

    def forward(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits (B, T, C) after each of tokens (B, T), and the state after the last."""
        outputs, after = self.recurrence(self.dropout(self.embedding(tokens)), state)  # (B, T, H)
        return self.output(self.dropout(outputs)), after


def classification_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean negative log-probability (nats) of the targets (B, T) that are no NaN under logits (B, T, C).

    Zero where no step of the window is scored, as before the last step of long sequences.
    """
    scored = ~torch.isnan(targets)
    total = nn.functional.cross_entropy(logits[scored].float(), targets[scored].long(), reduction="sum")
    return total / scored.sum().clamp(min=1)
