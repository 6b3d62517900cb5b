"""Completions as OpenAI's clients read them, whole or in chunks; one answer counts what it has given."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from service.logging_setup import request_id
from service.models.model import Model
from service.models.tokenizer import Tokenizer
from service.protocols.openai.messages import Choice, CompletionBody, LogProbabilities, PromptTokensDetails, Usage
from service.protocols.text_controls import TokenOffsets, rows_of, token_text
from service.tasks.text import Alternatives, TextPiece, Tokens

Piece = tuple[int, TextPiece]
"""A piece of text and the index of its choice."""


_ROWS_ON_THE_LOOP = 200


class _Choices:
    """The choices of one answer: echoes their prompts, and tells where their tokens lie.

    What is told of a prompt is built once and shared by all choices that continue it.
    """

    def __init__(self, body: CompletionBody, tokenizer: Tokenizer, prompts: Sequence[Tokens]) -> None:
        self._body = body
        self._tokenizer = tokenizer
        self._prompts = prompts
        self._offsets: dict[int, TokenOffsets] = {}
        self._echoes: dict[int, str] = {}
        self._of_prompts: dict[int, tuple[LogProbabilities, TokenOffsets]] = {}

    async def of(self, piece: Piece) -> Choice:
        """A piece as a part of its choice."""
        index, part = piece
        prompt, text = index // (self._body.n or 1), part.text
        if index not in self._offsets:
            echo = self._echo(prompt)
            text = echo + text
            self._offsets[index] = TokenOffsets(self._tokenizer, len(echo))
        told: list[LogProbabilities] = []
        if self._body.logprobs is not None:
            if part.prompt_alternatives is not None:
                of_prompt, after = await self._of_prompt(prompt, part.prompt_alternatives)
                self._offsets[index] = after.copy()
                told.append(of_prompt)
            if part.alternatives is not None:
                told.append(await self._log_probabilities(part.alternatives, self._offsets[index]))
        return Choice(index, text, part.finish_reason, joined(told) if told else None)

    def _echo(self, prompt: int) -> str:
        if not self._body.echo:
            return ""
        if prompt not in self._echoes:
            self._echoes[prompt] = self._tokenizer.decode(self._prompts[prompt].tolist())
        return self._echoes[prompt]

    async def _of_prompt(self, prompt: int, told: Alternatives) -> tuple[LogProbabilities, TokenOffsets]:
        """What is told of a prompt, and where the tokens after it lie."""
        if prompt not in self._of_prompts:
            offsets = TokenOffsets(self._tokenizer)
            self._of_prompts[prompt] = await self._log_probabilities(told, offsets), offsets
        return self._of_prompts[prompt]

    async def _log_probabilities(self, told: Alternatives, offsets: TokenOffsets) -> LogProbabilities:
        if len(told.tokens) <= _ROWS_ON_THE_LOOP:
            return self._built(told, offsets)
        return await asyncio.to_thread(self._built, told, offsets)

    def _built(self, told: Alternatives, offsets: TokenOffsets) -> LogProbabilities:
        rows = list(rows_of(told))
        tokens = [token for token, _, _ in rows]
        tops = None
        if self._body.logprobs:
            tops = [{self._text(token): value, **self._texts(top)} for token, value, top in rows]
        values = [value for _, value, _ in rows]
        return LogProbabilities(list(map(self._text, tokens)), values, tops, offsets.of(tokens))

    def _texts(self, top: list[tuple[int, float]]) -> dict[str, float]:
        return {self._text(token): value for token, value in top}

    def _text(self, token: int) -> str:
        return token_text(self._tokenizer, token)


def joined(parts: Sequence[LogProbabilities]) -> LogProbabilities:
    """What is told of one stretch of tokens after another."""
    if len(parts) == 1:
        return parts[0]
    tops = None
    if any(part.top_logprobs is not None for part in parts):
        tops = [top for part in parts for top in part.top_logprobs or ()]
    return LogProbabilities(
        [token for part in parts for token in part.tokens],
        [value for part in parts for value in part.token_logprobs],
        tops,
        [offset for part in parts for offset in part.text_offset],
    )


class Answer:
    """What all chunks of one answer share, and what it has counted so far."""

    def __init__(self, body: CompletionBody, model: Model, prompts: Sequence[Tokens]) -> None:
        assert model.tokenizer is not None
        self._body = body
        self._created = int(time.time())
        self._model = model
        self._choices = _Choices(body, model.tokenizer, prompts)
        self.prompt_tokens = sum(map(len, prompts))
        self._completion_tokens = self._cached_tokens = 0
        self._last: TextPiece | None = None
        self._restored = False

    def note(self, piece: TextPiece) -> None:
        self._completion_tokens += len(piece.tokens)
        self._cached_tokens += piece.cached_tokens
        self._last = piece
        self._restored |= piece.restored

    async def whole(self, pieces: AsyncGenerator[Piece, None]) -> dict[str, Any]:
        """All choices in one answer, in the order of prompts and then of choices."""
        parts: dict[int, list[Choice]] = {}
        async with aclosing(pieces):
            async for piece in pieces:
                parts.setdefault(piece[0], []).append(await self._choices.of(piece))
        return self.chunk([_whole(parts[index]) for index in sorted(parts)]) | {"usage": self.usage()}

    async def part(self, piece: Piece) -> dict[str, Any]:
        """One piece as a chunk of a stream."""
        return self.chunk([await self._choices.of(piece)])

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
        total = self.prompt_tokens + self._completion_tokens
        details = PromptTokensDetails(self._cached_tokens)
        return Usage(self.prompt_tokens, self._completion_tokens, total, details)

    @property
    def shows_usage(self) -> bool:
        options = self._body.stream_options
        return options is not None and bool(options.include_usage)


def _whole(parts: Sequence[Choice]) -> Choice:
    told = [part.logprobs for part in parts if part.logprobs is not None]
    text = "".join(part.text for part in parts)
    return Choice(parts[0].index, text, parts[-1].finish_reason, joined(told) if told else None)
