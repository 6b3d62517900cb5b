"""What of a generation has been handed out, when it is taken up again after another replica was faster at it."""

from __future__ import annotations

from dataclasses import replace

from service.tasks.requests import TextPiece


class Delivered:
    """Leaves out of a generation's pieces what its client has already. Equal draws give equal tokens and text."""

    def __init__(self) -> None:
        self._tokens = self._text = 0
        self._skip_tokens = self._skip_text = 0

    @property
    def anything(self) -> bool:
        """Whether anything was handed out."""
        return bool(self._tokens or self._text)

    def begin(self) -> None:
        """The generation is told from its start once more."""
        self._skip_tokens, self._skip_text = self._tokens, self._text

    def rest_of(self, piece: TextPiece) -> TextPiece | None:
        """What is new of a piece; None if nothing is."""
        tokens, text = piece.tokens[self._skip_tokens :], piece.text[self._skip_text :]
        skipped = bool(self._skip_tokens or self._skip_text)
        told = None if piece.alternatives is None else piece.alternatives.after(len(piece.tokens) - len(tokens))
        self._skip_tokens -= len(piece.tokens) - len(tokens)
        self._skip_text -= len(piece.text) - len(text)
        self._tokens += len(tokens)
        self._text += len(text)
        if not skipped:
            return piece
        if not tokens and not text and piece.finish_reason is None:
            return None
        return replace(
            piece,
            tokens=tokens,
            text=text,
            repeated=False,
            alternatives=told,
            prompt_alternatives=None,
            cached_tokens=0,
        )
