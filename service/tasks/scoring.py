"""How likely a model holds a text: its log-probability, and the bits it would take to write it by the model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.engine.job import Job
from service.models.model import Model
from service.sessions.again import again_if_moved
from service.sessions.service import Service
from service.sessions.session import Session
from service.tasks.limits import DEFAULT_LIMITS, TaskLimits, check_count
from service.tasks.reading import read_tokens, text_task
from service.tasks.requests import Tokens


@dataclass(frozen=True)
class Score:
    """Log-probabilities (T,) of a text's tokens, in nats, each given all before it."""

    log_probabilities: NDArray[np.float32]
    characters: int
    bytes: int

    @property
    def total(self) -> float:
        """The log-probability of the text, in nats."""
        return float(self.log_probabilities.sum(dtype=np.float64))

    @property
    def perplexity(self) -> float:
        """Per token."""
        return math.exp(-self.total / len(self.log_probabilities))

    def bits_per(self, count: int) -> float | None:
        """Bits for each of so many parts of the text, if it has any."""
        return -self.total / math.log(2) / count if count else None


async def score(
    service: Service,
    model: Model,
    *,
    text: str | None = None,
    tokens: Sequence[int] | None = None,
    limits: TaskLimits = DEFAULT_LIMITS,
) -> Score:
    """Score a text that begins with nothing before it.

    Raises:
        InputMismatch, RequestTooLarge, Overloaded, StepFailed
    """
    given = await _given(model, text, tokens, limits)
    with service.engines.using(model) as engine:
        job = Job("observe", len(given), {"tokens": given[np.newaxis]}, rows=model.initial()[np.newaxis])
        return _scored(model, given, (await engine.submit(job)).outputs["log_probabilities"][0])


@again_if_moved
async def score_after(
    session: Session,
    *,
    text: str | None = None,
    tokens: Sequence[int] | None = None,
    limits: TaskLimits = DEFAULT_LIMITS,
) -> Score:
    """Score a text as it would follow what a session has taken in; the session does not move.

    Raises:
        InputMismatch, RequestTooLarge, Overloaded, SessionNotFound, StepFailed
    """
    given = await _given(session.model, text, tokens, limits)
    async with session.turn(fresh=True) as turn:
        result = await turn.peek(Job("observe", len(given), {"tokens": given[np.newaxis]}))
        return _scored(session.model, given, result.outputs["log_probabilities"][0])


async def _given(model: Model, text: str | None, tokens: Sequence[int] | None, limits: TaskLimits) -> Tokens:
    given = await read_tokens(model, text, tokens, limits)
    check_count("text" if tokens is None else "tokens", len(given), limits.max_steps, unit="tokens")
    return given


def _scored(model: Model, tokens: Tokens, log_probabilities: NDArray[np.float32]) -> Score:
    _, tokenizer = text_task(model)
    content = b"".join(map(tokenizer.token_bytes, tokens.tolist()))
    return Score(log_probabilities.copy(), len(content.decode("utf-8", "replace")), len(content))
