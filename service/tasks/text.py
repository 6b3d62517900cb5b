"""Text models in sessions: take text in, and generate its continuation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.engine.job import Job
from service.errors import SessionMoved
from service.sessions.again import TRIES, again_if_moved
from service.sessions.prefix_cache import PrefixCache
from service.sessions.recent import recent_after
from service.sessions.session import Session
from service.sessions.transition import NOTHING_EXPECTED, Expected
from service.tasks.completion import best_completions, complete
from service.tasks.delivered import Delivered
from service.tasks.drawing import Language, follower_of
from service.tasks.generation import SessionGeneration
from service.tasks.limits import DEFAULT_LIMITS, TaskLimits, check_count
from service.tasks.prefill import Prefill
from service.tasks.reading import about_tokens, read_tokens, text_task, tokens_of
from service.tasks.requests import (
    MAX_STOP_LENGTH,
    MAX_STOPS,
    MAX_TEMPERATURE,
    Alternatives,
    Constraint,
    GenerateRequest,
    TextPiece,
    Tokens,
    check_request,
)

__all__ = [
    "MAX_STOPS",
    "MAX_STOP_LENGTH",
    "MAX_TEMPERATURE",
    "Alternatives",
    "Constraint",
    "GenerateRequest",
    "Language",
    "ObservedText",
    "Prefill",
    "TextPiece",
    "Tokens",
    "best_completions",
    "complete",
    "generate",
    "observe_text",
    "read_tokens",
    "text_task",
    "tokens_of",
]


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
    with session.engine.room_for({"observe": about_tokens(session.model, text, tokens)}):
        given = await read_tokens(session.model, text, tokens, limits)
    check_count("text" if tokens is None else "tokens", len(given), limits.max_steps, unit="tokens")
    digest = expected.digest("observe", tokens=given)
    async with session.turn(expected) as turn:
        last = turn.repeated(expected, digest)
        if last is None:
            await session.home.turn_ends.note(turn)
        recent = recent_after(session.recent, given)
        job = Job("observe", len(given), {"tokens": given[np.newaxis]})
        recorded = last or await turn.carry_out(job, expected, digest, text_pending=b"", recent=recent)
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
    prefixes: PrefixCache | None = None,
    expected: Expected = NOTHING_EXPECTED,
    limits: TaskLimits = DEFAULT_LIMITS,
) -> AsyncIterator[TextPiece]:
    """Take the prompt (T,) in, if there is one, and generate, all as one transition, committed piece by piece.

    Closing the iterator ends the generation; the session stands at what was committed, and the same request sent
    again goes on from there.

    Args:
        prefixes: where the rows after the beginnings of prompts are, for a session that begins with one.

    Raises:
        InputMismatch, RequestTooLarge, PositionConflict, Overloaded, SessionNotFound, StepFailed
    """
    task, tokenizer = text_task(session.model)
    check_request(session.model, task, request, limits)
    given = np.empty(0, np.int64) if prompt is None else prompt
    check_count("prompt", len(given), limits.max_steps, least=0, unit="tokens")
    digest = expected.digest("generate", prompt=given, request=request)
    begin = await follower_of(request, tokenizer)
    delivered = Delivered()
    for tried in range(1, TRIES + 1):
        try:
            delivered.begin()
            async with session.turn(expected) as turn:
                last = turn.repeated(expected, digest)
                if last is None:
                    await session.home.turn_ends.note(turn)
                follower = None if begin is None else begin.copy()
                generation = SessionGeneration(turn, request, given, expected, digest, last, follower, prefixes)
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
