"""Texts that continue a prompt without any session."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np

from service.models.model import Model
from service.sessions.service import Service
from service.tasks.ahead import Ahead, text_of
from service.tasks.alternatives import alternatives_to
from service.tasks.drawing import Drawer, Draws, Language, Running
from service.tasks.limits import DEFAULT_LIMITS, TaskLimits, check_count
from service.tasks.prefill import Prefill
from service.tasks.reading import text_task
from service.tasks.requests import PIECE_TOKENS, Alternatives, GenerateRequest, TextPiece, Tokens, check_request
from service.tasks.search import Beginning, search


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
    language: Language | None = None,
) -> AsyncIterator[TextPiece]:
    """Continue a prompt (T,) without any session. The draws depend on seed, prompt number and sample number alone.

    Several choices of one prompt share a `Prefill`, so that it is taken in once.

    Args:
        piece_tokens: of one piece; as many as `max_tokens` where nobody looks at the text before it is whole.
        language: the request's, where several texts share it.

    Raises:
        InputMismatch, RequestTooLarge, Overloaded, StepFailed
    """
    task, tokenizer = text_task(model)
    check_request(model, task, request, limits)
    prefill = prompt if isinstance(prompt, Prefill) else Prefill(prompt)
    length = len(prefill.tokens)
    check_count("prompt", length, limits.max_steps, least=0, unit="tokens")
    follower = await (language or Language(request, tokenizer)).follower()
    seed, end = 0 if request.seed is None else request.seed, length + request.max_tokens
    draws = Draws(seed, end, prompt_index=prompt_index, sample_index=sample_index)
    with service.engines.using(model) as engine:
        run: Running = engine.submit
        base, cached = await prefill.rows(model, run, service.prefixes)
        cached = cached if sample_index == 0 else 0  # what choices share is counted once
        of_prompt = await _prompt_alternatives(model, run, prefill, request)
        drawer = Drawer(model, request, run, draws, follower)
        ahead = Ahead(model, request, drawer, b"")
        ahead.rows = base
        reason = "length" if request.max_tokens == 0 else None
        if reason is not None:
            yield TextPiece("", [], reason, prompt_alternatives=of_prompt, cached_tokens=cached)
        done, past = 0, prefill.tokens[-request.penalty_window :].tolist()
        while reason is None:
            count = min(piece_tokens, request.max_tokens - done - len(ahead))
            before = length + done + len(ahead)
            ahead.add(*await drawer.draw(ahead.rows, before, count, [*past, *ahead.tokens]))
            cut = ahead.look(request.max_tokens - done)
            tokens = [*ahead.tokens[: cut.tokens], *ahead.remainder(cut)]
            if cut.stopped_by is not None or (drawer.ended and cut.tokens == len(ahead)):
                reason = "stop"
            elif done + cut.tokens >= request.max_tokens:
                reason = "length"
            if not tokens and reason is None:
                continue
            ahead.deliver(cut)
            done, past = done + cut.tokens, [*past, *tokens][-request.penalty_window :]
            told: Alternatives | None = None
            if request.logprobs is not None:
                given = np.array(tokens, np.int64)
                told, base = await alternatives_to(run, base, given, request.logprobs, task.vocabulary_size)
            text = text_of(cut) + ("" if reason is None else ahead.pending.decode("utf-8", "replace"))
            yield TextPiece(
                text, tokens, reason, alternatives=told, prompt_alternatives=of_prompt, cached_tokens=cached
            )
            of_prompt, cached = None, 0


async def best_completions(
    service: Service,
    model: Model,
    prompt: Prefill,
    request: GenerateRequest,
    count: int,
    *,
    prompt_index: int = 0,
    limits: TaskLimits = DEFAULT_LIMITS,
    language: Language | None = None,
) -> list[TextPiece]:
    """The best `count` texts of `best_of`, or of a beam search, each whole, the best one first.

    Raises:
        InputMismatch, RequestTooLarge, Overloaded, StepFailed
    """
    task, tokenizer = text_task(model)
    check_request(model, task, request, limits)
    check_count("prompt", len(prompt.tokens), limits.max_steps, least=0, unit="tokens")
    follower = await (language or Language(request, tokenizer)).follower()
    with service.engines.using(model) as engine:
        run: Running = engine.submit
        rows, cached = await prompt.rows(model, run, service.prefixes)
        of_prompt = await _prompt_alternatives(model, run, prompt, request)
        history = prompt.tokens[-request.penalty_window :].tolist()
        begin = Beginning(rows, len(prompt.tokens), history, follower=follower)
        seed = 0 if request.seed is None else request.seed
        found = (await search(model, request, run, begin, seed, prompt_index=prompt_index))[:count]
        pieces = []
        for text in found:
            told: Alternatives | None = None
            if request.logprobs is not None:
                tokens = np.array(text.tokens, np.int64)
                told, _ = await alternatives_to(run, rows, tokens, request.logprobs, task.vocabulary_size)
            whole = text.text + text.pending.decode("utf-8", "replace")
            pieces.append(
                TextPiece(whole, text.tokens, text.finish_reason, None, None, False, False, told, of_prompt, cached)
            )
            cached = 0
        return pieces


async def _prompt_alternatives(
    model: Model, run: Running, prompt: Prefill, request: GenerateRequest
) -> Alternatives | None:
    """Those to a prompt that begins a text, where they are asked for."""
    if not request.prompt_logprobs or request.logprobs is None:
        return None
    task, _ = text_task(model)
    count = request.logprobs

    async def read() -> Alternatives:
        start = model.initial()[np.newaxis]
        return (await alternatives_to(run, start, prompt.tokens, count, task.vocabulary_size))[0]

    return await prompt.told(read)
