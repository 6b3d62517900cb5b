"""Completions as OpenAI's clients read them, whole or in chunks; one answer counts what it has given."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from service.logging_setup import request_id
from service.models.model import Model
from service.protocols.openai.messages import Choice, CompletionBody, Usage
from service.tasks.text import TextPiece

Piece = tuple[int, TextPiece]
"""A piece of text and the index of its choice."""


class Answer:
    """What all chunks of one answer share, and what it has counted so far."""

    def __init__(self, body: CompletionBody, model: Model, prompt_tokens: int) -> None:
        self._body = body
        self._created = int(time.time())
        self._model = model
        self.prompt_tokens = prompt_tokens
        self._completion_tokens = 0
        self._last: TextPiece | None = None
        self._restored = False

    def note(self, piece: TextPiece) -> None:
        self._completion_tokens += len(piece.tokens)
        self._last = piece
        self._restored |= piece.restored

    async def whole(self, pieces: AsyncGenerator[Piece, None]) -> dict[str, Any]:
        """All choices in one answer, in the order of prompts and then of choices."""
        texts: dict[int, str] = {}
        reasons: dict[int, str | None] = {}
        async with aclosing(pieces):
            async for index, piece in pieces:
                texts[index] = texts.get(index, "") + piece.text
                reasons[index] = piece.finish_reason
        choices = [Choice(index, texts[index], reasons[index]) for index in sorted(texts)]
        return self.chunk(choices) | {"usage": self.usage()}

    def chunk(self, choices: list[Choice]) -> dict[str, Any]:
        """The shape that whole answers and streamed chunks share."""
        content: dict[str, Any] = {
            "id": f"cmpl-{request_id.get()}",
            "object": "text_completion",
            "created": self._created,
            "model": self._body.model,
            "system_fingerprint": self._model.manifest.id,
            "choices": choices,
        }
        if self._body.session_id is not None and self._last is not None:
            content |= {
                "session_id": self._body.session_id,
                "position": self._last.position,
                "durable_position": self._last.durable_position,
            }
            if self._last.repeated:
                content["repeated"] = True
            if self._restored:
                content["restored"] = True
        return content

    def usage(self) -> Usage:
        return Usage(self.prompt_tokens, self._completion_tokens, self.prompt_tokens + self._completion_tokens)

    @property
    def shows_usage(self) -> bool:
        options = self._body.stream_options
        return options is not None and bool(options.include_usage)
