"""A network that predicts the next token: embedding, recurrence, softmax over the vocabulary.

Shapes: B batch, T time, V vocabulary, E embedding, H hidden.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn

from training.networks.recurrence import Cell, Recurrence, State


@dataclass(frozen=True)
class TextGeneratorSettings:
    """What a text generator is made of; the vocabulary comes from the tokenizer."""

    cell: Cell = field(default="LSTM", metadata={"help": "recurrent cell"})
    hidden_size: int = field(default=256, metadata={"help": "units per recurrent layer", "min": 1})
    layers: int = field(default=1, metadata={"help": "recurrent layers", "min": 1})
    embedding_size: int = field(default=64, metadata={"help": "numbers per token on the way in", "min": 1})
    dropout: float = field(default=0.2, metadata={"help": "on embeddings, between layers and on outputs"})
    recurrent_dropout: float = field(default=0.0, metadata={"help": "on hidden-to-hidden weights (DropConnect)"})
    tied: bool = field(default=False, metadata={"help": "use one matrix for embedding and softmax"})


class TextGenerator(nn.Module):
    """Logits of the next token after every token, and the state to continue from.

    With tied weights (Press and Wolf, 2017) the softmax uses the embedding's matrix, reached from the
    recurrence by a linear projection where H and E differ.
    """

    def __init__(self, vocabulary_size: int, settings: TextGeneratorSettings) -> None:
        super().__init__()
        self.settings = settings
        self.vocabulary_size = vocabulary_size
        embedding, hidden = settings.embedding_size, settings.hidden_size
        self.embedding = nn.Embedding(vocabulary_size, embedding)
        self.dropout = nn.Dropout(settings.dropout)
        self.recurrence = Recurrence(
            settings.cell, embedding, hidden, settings.layers, settings.dropout, settings.recurrent_dropout
        )
        self.projection = nn.Linear(hidden, embedding, bias=False) if settings.tied and hidden != embedding else None
        self.output = nn.Linear(embedding if settings.tied else hidden, vocabulary_size)
        self._initialise()

    def _initialise(self) -> None:
        # A tied matrix is also the softmax: at unit variance its first logits would be far too large.
        nn.init.normal_(self.embedding.weight, std=self.settings.embedding_size**-0.5 if self.settings.tied else 1.0)
        nn.init.zeros_(self.output.bias)
        if self.settings.tied:
            self.output.weight = self.embedding.weight

    def forward(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits (B, T, V) of the token after each of tokens (B, T), and the state after the last."""
        outputs, after = self.recurrence(self.dropout(self.embedding(tokens)), state)  # (B, T, H)
        outputs = self.dropout(outputs)
        if self.projection is not None:
            outputs = self.projection(outputs)  # (B, T, E)
        return self.output(outputs), after
