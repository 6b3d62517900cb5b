"""Tokens that are drawn and not delivered yet, and how much of them is certain: what all ways of generating share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from service.engine.state_table import Rows
from service.models.model import Model
from service.tasks.drawing import Drawer, Drawn
from service.tasks.requests import GenerateRequest, Tokens
from service.tasks.stop import Cut, look


class Ahead:
    """The tokens of one text that follow what was delivered.

    Args:
        drawer: of the text.
        pending: the bytes of a character that delivered text has begun.
    """

    def __init__(self, model: Model, request: GenerateRequest, drawer: Drawer, pending: bytes) -> None:
        assert model.tokenizer is not None
        self.drawer = drawer
        self.pending = pending
        self._tokenizer = model.tokenizer
        self._request = request
        self._drawn: list[Drawn] = []
        self.rows: Rows | None = None
        """The row (1, S) after all of them; None where that is the one that delivered text has left."""

    def __len__(self) -> int:
        return len(self._drawn)

    @property
    def tokens(self) -> list[int]:
        return [drawn.token for drawn in self._drawn]

    def add(self, drawn: Sequence[Drawn], rows: Rows) -> None:
        """Tokens that were drawn, and the row after them."""
        self._drawn += drawn
        self.rows = rows

    def look(self, left: int, more: Sequence[int] = ()) -> Cut:
        """How much is certain of these tokens and `more`, where the whole text may have `left` of them."""
        tokens = [*self.tokens, *more]
        final = len(tokens) >= left or self.drawer.ended
        return look(self._tokenizer, self.pending, tokens, self._request.stop, final=final)

    def remainder(self, cut: Cut) -> list[int]:
        """Tokens for the text between the last whole token and the stop string."""
        if not cut.remainder:
            return []
        content = cut.remainder.encode()
        return self._tokenizer.encode_bytes(content.removeprefix(cut.pending))

    def before(self, count: int) -> Rows | None:
        """The row before the last of the first `count` tokens, if it is known."""
        return self._drawn[count - 1].before if count else None

    def deliver(self, cut: Cut) -> None:
        """Let go of what is delivered."""
        self._drawn = self._drawn[cut.tokens :]
        self.pending = b"" if cut.remainder else cut.pending


def text_of(cut: Cut) -> str:
    """All of the text that is certain."""
    return cut.text + cut.remainder


def no_tokens() -> Tokens:
    return np.empty(0, np.int64)
