"""Text generators: take text in, and generate its continuation, in a session or without one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.contract.manifest import TextTask
from service.engine.job import Job
from service.errors import InputMismatch, SessionMoved
from service.models.model import Model
from service.models.tokenizer import StreamDecoder, Tokenizer
from service.sessions.again import TRIES, again_if_moved
from service.sessions.service import Service
from service.sessions.session import Session
from service.sessions.transition import NOTHING_EXPECTED, Expected
from service.tasks.delivered import Delivered
from service.tasks.generation import (
    PIECE_TOKENS,
    Draws,
    GenerateRequest,
    SessionGeneration,
    TextPiece,
    Tokens,
    generate_job,
)
from service.tasks.limits import DEFAULT_LIMITS, TaskLimits, check_count
from service.tasks.prefill import Prefill
from service.tasks.stop import StopMatcher

__all__ = [
    "MAX_STOPS",
    "MAX_STOP_LENGTH",
    "MAX_TEMPERATURE",
    "GenerateRequest",
    "ObservedText",
    "Prefill",
    "TextPiece",
    "Tokens",
    "complete",
    "generate",
    "observe_text",
    "read_tokens",
    "text_task",
    "tokens_of",
]

_QUICK_CHARACTERS = 500
MAX_TEMPERATURE = 2.0
MAX_STOPS, MAX_STOP_LENGTH = 4, 256
_CHARACTERS_OF_A_TOKEN = 4
"""About, where tokens are longer than one."""


@dataclass(frozen=True)
class ObservedText:
    """What observing text gave: how likely the model had held each token (T,), in nats."""

    start: int
    position: int
    durable_position: int
    tokens: int
    log_probabilities: NDArray[np.float32]
    repeated: bool
    restored: bool = False


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


def _about(model: Model, text: str | None, tokens: Sequence[int] | None) -> int:
    """About how many tokens a client gives."""
    if text is None:
        return len(tokens or ())
    _, tokenizer = text_task(model)
    return len(text) // min(tokenizer.longest_token, _CHARACTERS_OF_A_TOKEN)


@again_if_moved
async def observe_text(
    session: Session,
    *,
    text: str | None = None,
    tokens: Sequence[int] | None = None,
    expected: Expected = NOTHING_EXPECTED,
    limits: TaskLimits = DEFAULT_LIMITS,
) -> ObservedText:
    """Take text or tokens in.

    Raises:
        InputMismatch, RequestTooLarge, PositionConflict, Overloaded, SessionNotFound, StepFailed
    """
    # To cut a long text into tokens takes about as long as to take them in.
    with session.engine.room_for({"observe": _about(session.model, text, tokens)}):
        given = await read_tokens(session.model, text, tokens, limits)
    check_count("text" if tokens is None else "tokens", len(given), limits.max_steps, unit="tokens")
    digest = expected.digest("observe", tokens=given)
    async with session.turn(expected) as turn:
        last = turn.repeated(expected, digest)
        job = Job("observe", len(given), {"tokens": given[np.newaxis]})
        recorded = last or await turn.carry_out(job, expected, digest, text_pending=b"")
        return ObservedText(
            recorded.start,
            recorded.position,
            session.durable_position,
            len(given),
            recorded.outputs["log_probabilities"],
            repeated=last is not None,
            restored=session.tell_restored(),
        )


async def generate(
    session: Session,
    request: GenerateRequest,
    *,
    prompt: Tokens | None = None,
    expected: Expected = NOTHING_EXPECTED,
    limits: TaskLimits = DEFAULT_LIMITS,
) -> AsyncIterator[TextPiece]:
    """Take the prompt (T,) in, if there is one, and generate, all as one transition, committed piece by piece.

    Closing the iterator ends the generation; the session stands at what was committed, and the same request sent
    again goes on from there.

    Raises:
        InputMismatch, RequestTooLarge, PositionConflict, Overloaded, SessionNotFound, StepFailed
    """
    _check_request(session.model, request, limits)
    _, tokenizer = text_task(session.model)
    given = np.empty(0, np.int64) if prompt is None else prompt
    check_count("prompt", len(given), limits.max_steps, least=0, unit="tokens")
    digest = expected.digest("generate", prompt=given, request=request)
    delivered = Delivered()
    for tried in range(1, TRIES + 1):
        try:
            delivered.begin()
            async with session.turn(expected) as turn:
                last = turn.repeated(expected, digest)
                generation = SessionGeneration(turn, request, given, expected, digest, last, tokenizer)
                async with aclosing(generation.pieces()) as pieces:
                    async for piece in pieces:
                        if (rest := delivered.rest_of(piece)) is not None:
                            yield rest
            return
        except SessionMoved:
            # What was delivered stands: it is gone on from if the session's record says that the other replica was at
            # the same request, and a conflict otherwise. Without a position or a key nobody could tell.
            if tried == TRIES or (delivered.anything and expected == NOTHING_EXPECTED):
                raise
            session = await session.home.current(session)


async def complete(
    service: Service,
    model: Model,
    prompt: Tokens | Prefill,
    request: GenerateRequest,
    *,
    prompt_index: int = 0,
    sample_index: int = 0,
    piece_tokens: int = PIECE_TOKENS,
    limits: TaskLimits = DEFAULT_LIMITS,
) -> AsyncIterator[TextPiece]:
    """Continue a prompt (T,) without any session. The draws depend on seed, prompt number and sample number alone.

    Several choices of one prompt share a `Prefill`, so that it is taken in once.

    Args:
        piece_tokens: of one piece; as many as `max_tokens` where nobody looks at the text before it is whole.

    Raises:
        InputMismatch, RequestTooLarge, Overloaded, StepFailed
    """
    _check_request(model, request, limits)
    prefill = prompt if isinstance(prompt, Prefill) else Prefill(prompt)
    length = len(prefill.tokens)
    check_count("prompt", length, limits.max_steps, least=0, unit="tokens")
    _, tokenizer = text_task(model)
    matcher = StopMatcher(StreamDecoder(tokenizer), request.stop)
    seed, end = 0 if request.seed is None else request.seed, length + request.max_tokens
    draws = Draws(seed, end, prompt_index=prompt_index, sample_index=sample_index)
    done = 0
    with service.engines.using(model) as engine:
        rows = await prefill.rows(engine)
        while done < request.max_tokens and matcher.stopped_by is None:
            count = min(piece_tokens, request.max_tokens - done)
            drawn = draws.after(length + done, count)
            result = await engine.submit(generate_job(request, rows, drawn, matcher if request.stop else None))
            rows, done = result.rows, done + result.steps
            tokens = result.outputs["tokens"][0].tolist()
            if not request.stop:
                matcher.feed(tokens)
            reason = None
            if matcher.stopped_by is not None:
                reason = "stop"
            elif done == request.max_tokens:
                reason = "length"
                matcher.flush()
            yield TextPiece(matcher.take_text(), tokens, reason)
    if request.max_tokens == 0:
        yield TextPiece("", [], "length")


def _check_request(model: Model, request: GenerateRequest, limits: TaskLimits) -> None:
    text_task(model)
    check_count("max_tokens", request.max_tokens, limits.max_tokens, least=0)
    if not 0 <= request.temperature <= MAX_TEMPERATURE:
        raise InputMismatch(
            f"temperature: expected 0 to {MAX_TEMPERATURE:g}, got {request.temperature:g}", parameter="temperature"
        )
    if not 0 <= request.top_p <= 1:
        raise InputMismatch(f"top_p: expected 0 to 1, got {request.top_p:g}", parameter="top_p")
    if len(request.stop) > MAX_STOPS:
        raise InputMismatch(f"stop: expected at most {MAX_STOPS} texts, got {len(request.stop)}", parameter="stop")
    for stop in request.stop:
        if not 0 < len(stop) <= MAX_STOP_LENGTH:
            raise InputMismatch(
                f"stop: expected texts of 1 to {MAX_STOP_LENGTH} characters, got one of {len(stop)}", parameter="stop"
            )
