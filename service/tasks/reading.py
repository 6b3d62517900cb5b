"""What clients give a text model to read: text or tokens, checked and cut into tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from service.contract.manifest import TextTask
from service.errors import InputMismatch
from service.models.model import Model
from service.models.tokenizer import Tokenizer
from service.tasks.limits import DEFAULT_LIMITS, TaskLimits, check_count
from service.tasks.requests import Tokens

_QUICK_CHARACTERS = 500
_CHARACTERS_OF_A_TOKEN = 4
"""About, where tokens are longer than one."""


def text_task(model: Model) -> tuple[TextTask, Tokenizer]:
    """The model's text section and tokenizer; a model for something else is refused."""
    if model.manifest.text is None or model.tokenizer is None:
        does = "classifies sequences" if model.manifest.classify else "forecasts series"
        raise InputMismatch(f"model {model.manifest.name} {does}: use a text model", parameter="model")
    return model.manifest.text, model.tokenizer


def tokens_of(
    model: Model, text: str | None, tokens: Sequence[int] | None, limits: TaskLimits = DEFAULT_LIMITS
) -> Tokens:
    """The tokens (T,) that a client gives as text or as token ids; none of either gives none.

    Raises:
        InputMismatch: both are given, or a character or token is not in the vocabulary.
        RequestTooLarge: more tokens than one request may take in.
    """
    task, tokenizer = text_task(model)
    if text is not None and tokens is not None:
        raise InputMismatch("text, tokens: expected one of them, got both", parameter="tokens")
    if text is not None:
        # Far too long a text is refused unread: cutting it into tokens would take longer than all else.
        check_count("text", len(text) // tokenizer.longest_token, limits.max_steps, least=0, unit="tokens")
        return tokenizer.encode(text)
    check_count("tokens", len(tokens or ()), limits.max_steps, least=0)
    for index, token in enumerate(tokens or ()):
        if not 0 <= token < task.vocabulary_size or token == task.unknown_token:
            raise InputMismatch(
                f"tokens.{index}: expected a token id from 0 to {task.vocabulary_size - 1}"
                f"{'' if task.unknown_token is None else f', other than {task.unknown_token}'}, got {token}",
                parameter="tokens",
            )
    return np.array(tokens or (), np.int64)


async def read_tokens(
    model: Model, text: str | None, tokens: Sequence[int] | None, limits: TaskLimits = DEFAULT_LIMITS
) -> Tokens:
    """What `tokens_of` gives; a long text is read in a thread, so that nobody waits for it."""
    if text is None or len(text) <= _QUICK_CHARACTERS:
        return tokens_of(model, text, tokens, limits)
    return await asyncio.to_thread(tokens_of, model, text, tokens, limits)


def about_tokens(model: Model, text: str | None, tokens: Sequence[int] | None) -> int:
    """About how many tokens a client gives."""
    if text is None:
        return len(tokens or ())
    _, tokenizer = text_task(model)
    return len(text) // min(tokenizer.longest_token, _CHARACTERS_OF_A_TOKEN)
