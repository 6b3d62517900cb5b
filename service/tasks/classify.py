"""Classifiers: take tokens in, and tell after each how likely every class is by then."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.contract.manifest import ClassifyTask
from service.engine.job import Job
from service.errors import InputMismatch
from service.models.model import Model
from service.sessions.again import again_if_moved
from service.sessions.session import Session
from service.sessions.transition import NOTHING_EXPECTED, Expected
from service.tasks.limits import DEFAULT_LIMITS, TaskLimits, check_count

Tokens = NDArray[np.int64]

_QUICK_CHARACTERS = 500


@dataclass(frozen=True)
class Classified:
    """What observing gave, for each token sent.

    Args:
        start: position before, and `position` after.
        unknown: how many of the tokens stand for characters that the model has never seen.
        probabilities: (T, C) of each class once that token was taken in, in the order of the manifest's classes.
        repeated: the request had been carried out before, and this is the recorded answer.
        restored: the session was taken from the journal, and no answer has said so yet.
    """

    start: int
    position: int
    durable_position: int
    unknown: int
    probabilities: NDArray[np.float32]
    repeated: bool
    restored: bool = False


def classify_task(model: Model) -> ClassifyTask:
    """The model's classify section; a model for something else is refused."""
    if model.manifest.classify is None:
        raise InputMismatch(
            f"model {model.manifest.name} is for task {model.manifest.task!r}: use a classifier", parameter="model"
        )
    return model.manifest.classify


@again_if_moved
async def observe(
    session: Session,
    *,
    text: str | None = None,
    tokens: Sequence[int] | None = None,
    expected: Expected = NOTHING_EXPECTED,
    limits: TaskLimits = DEFAULT_LIMITS,
) -> Classified:
    """Take text or tokens in.

    Raises:
        InputMismatch, RequestTooLarge, PositionConflict, Overloaded, SessionNotFound, StepFailed
    """
    task = classify_task(session.model)
    given = await read_tokens(session.model, text, tokens, limits)
    digest = expected.digest("observe", tokens=given)
    async with session.turn(expected) as turn:
        last = turn.repeated(expected, digest)
        job = Job("observe", len(given), {"tokens": given[np.newaxis]})
        recorded = last or await turn.carry_out(job, expected, digest)
        return Classified(
            recorded.start,
            recorded.position,
            session.durable_position,
            0 if task.unknown_token is None else int(np.count_nonzero(given == task.unknown_token)),
            recorded.outputs["probabilities"],
            repeated=last is not None,
            restored=session.tell_restored(),
        )


async def read_tokens(
    model: Model, text: str | None, tokens: Sequence[int] | None, limits: TaskLimits = DEFAULT_LIMITS
) -> Tokens:
    """The tokens (T,), at least one, that a client gives as text or as token ids.

    Characters that the model has never seen become its unknown token, where it has one: a stream goes on.

    Raises:
        InputMismatch: both or neither are given, there is nothing in them, or a token is not in the vocabulary.
        RequestTooLarge: more tokens than one request may take in.
    """
    if (text is None) == (tokens is None):
        came = "neither" if text is None else "both"
        raise InputMismatch(f"text: expected either text or tokens, got {came}", parameter="text")
    if text is None:
        check_count("tokens", len(tokens or ()), limits.max_steps)
        return _ids(model, tokens or ())
    assert model.tokenizer is not None
    # Far too long a text is refused unread: cutting it into tokens would take longer than all else.
    check_count("text", len(text) // model.tokenizer.longest_token, limits.max_steps, least=0, unit="tokens")
    if len(text) <= _QUICK_CHARACTERS:
        given = model.tokenizer.encode(text, take_unknown=True)
    else:
        given = await asyncio.to_thread(model.tokenizer.encode, text, take_unknown=True)
    check_count("text", len(given), limits.max_steps, unit="tokens")
    return given


def _ids(model: Model, tokens: Sequence[int]) -> Tokens:
    given = np.array([min(token, 2**62) for token in tokens], np.int64)
    check_ids(model, given)
    return given


def check_ids(model: Model, tokens: Tokens) -> None:
    """Check token ids of any shape; the unknown token is one of them.

    Raises:
        InputMismatch: one is not in the vocabulary.
    """
    size = classify_task(model).vocabulary_size
    wrong = (tokens < 0) | (tokens >= size)
    if wrong.any():
        raise InputMismatch(
            f"tokens: expected token ids from 0 to {size - 1}, got {tokens[wrong][0]}", parameter="tokens"
        )
