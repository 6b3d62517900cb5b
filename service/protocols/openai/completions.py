"""The route of completions: prompts in, choices out, whole or streamed; one generator behind both."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response

from service.access.caller import owner, require
from service.errors import InputMismatch
from service.models.model import Model
from service.protocols.answering import EventStream, as_generator, json_answer, stop, to_json, until_gone
from service.protocols.boundary import ours
from service.protocols.bounds import at_most
from service.protocols.context import Context, context_of
from service.protocols.openai.answers import Answer, Piece
from service.protocols.openai.errors import error_body
from service.protocols.openai.messages import (
    DEFAULT_TOKENS,
    CompletionBody,
    check_supported,
    prompts_of,
    searches,
)
from service.protocols.reading import decode, read_body
from service.protocols.session_use import expected, model_for, opened_or_found
from service.protocols.text_controls import with_controls
from service.sessions.service import OpenSession
from service.tasks.limits import TaskLimits, check_count
from service.tasks.requests import PIECE_TOKENS
from service.tasks.text import (
    GenerateRequest,
    Language,
    Prefill,
    TextPiece,
    Tokens,
    best_completions,
    complete,
    generate,
    read_tokens,
)

_MAX_TOLD = 2_000_000
"""Log-probabilities in one answer: of tokens, of those likeliest in their places, of all choices."""


async def create_completion(request: Request) -> Response:
    """Continue a prompt: OpenAI's completions.

    `session_id` (and `position`, or the header `Idempotency-Key`) continue a session; an unknown one is opened. With
    `stream`, server-sent events end with `[DONE]`.
    """
    context = context_of(request)
    body = decode(CompletionBody, await read_body(request, context.settings.max_request_bytes))
    if body.session_id is None:
        require("predict")
    check_supported(body)
    model = await model_for(context.service, body.model, body.session_id)
    given = prompts_of(body)
    _check_counts(context, body, len(given))
    prompts = [await _tokens(model, prompt, context.limits) for prompt in given]
    check_count("prompt", sum(map(len, prompts)), context.limits.max_steps, least=0, unit="tokens")
    _check_told(body, prompts)
    answer = Answer(body, model, prompts)
    pieces = _pieces(context, model, body, prompts, request.headers.get("idempotency-key"))
    counted = _counted(context, model, answer, pieces)
    if not body.stream:
        return json_answer(await until_gone(request, answer.whole(counted)))
    # The first piece decides the status; after it, an error can only be an event.
    first = await until_gone(request, anext(counted))
    return EventStream(_events(answer, first, counted), counted)


def _check_counts(context: Context, body: CompletionBody, prompts: int) -> None:
    """Refuse too much before any prompt is cut into tokens, which takes long."""
    choices = body.n or 1
    at_most(choices, context.settings.max_choices, "n", "max_choices", "choices")
    drawn = max(choices, body.best_of or 1, body.beams or 1)
    at_most(drawn * prompts, context.settings.max_inputs, "prompt", "max_inputs", "completions in all")


def _check_told(body: CompletionBody, prompts: list[Tokens]) -> None:
    """Refuse to tell of so many tokens that the answer would keep others waiting while it is written."""
    if body.logprobs is None:
        return
    echoed = sum(map(len, prompts)) if body.echo else 0
    drawn = len(prompts) * (DEFAULT_TOKENS if body.max_tokens is None else body.max_tokens)
    entries = (echoed + drawn) * (body.n or 1) * (1 + body.logprobs)
    remedy = "ask for fewer choices, tokens or alternatives, or leave echo out"
    check_count("logprobs", entries, _MAX_TOLD, least=0, unit="log-probabilities", remedy=remedy)


async def _tokens(model: Model, prompt: str | list[int], limits: TaskLimits) -> Tokens:
    text, tokens = (prompt, None) if isinstance(prompt, str) else (None, prompt)
    try:
        return await read_tokens(model, text, tokens, limits)
    except InputMismatch as error:
        if error.parameter in ("text", "tokens"):
            reason = error.message.removeprefix("text: ").removeprefix("tokens.")
            raise InputMismatch(f"prompt: {reason}", parameter="prompt") from None
        raise


def _pieces(
    context: Context, model: Model, body: CompletionBody, prompts: list[Tokens], key: str | None
) -> AsyncGenerator[Piece, None]:
    asked = _request(body)
    if body.session_id is not None:
        return _in_session(context, model, body, asked, prompts[0], key)
    if searches(body):
        return _searched(context, model, body, asked, prompts)
    language = _language(model, asked)
    choices = [
        as_generator(
            complete(
                context.service,
                model,
                prompt,
                asked,
                prompt_index=index,
                sample_index=sample,
                piece_tokens=PIECE_TOKENS if body.stream else max(1, asked.max_tokens),
                limits=context.limits,
                language=language,
            )
        )
        for index, prompt in enumerate(map(Prefill, prompts))
        for sample in range(body.n or 1)
    ]
    return merged(choices)


async def _searched(
    context: Context, model: Model, body: CompletionBody, asked: GenerateRequest, prompts: list[Tokens]
) -> AsyncGenerator[Piece, None]:
    """The best texts of each prompt, of more than are answered."""
    count, language = body.n or 1, _language(model, asked)
    for index, prompt in enumerate(map(Prefill, prompts)):
        search = best_completions(
            context.service,
            model,
            prompt,
            asked,
            count,
            prompt_index=index,
            limits=context.limits,
            language=language,
        )
        for sample, piece in enumerate(await search):
            yield index * count + sample, piece


def _language(model: Model, asked: GenerateRequest) -> Language:
    assert model.tokenizer is not None
    return Language(asked, model.tokenizer)


def _request(body: CompletionBody) -> GenerateRequest:
    # Without a session there is no seed but the request's; without either, every answer is to be another.
    free = secrets.randbits(63) if body.session_id is None else None
    asked = GenerateRequest(
        max_tokens=DEFAULT_TOKENS if body.max_tokens is None else body.max_tokens,
        temperature=1.0 if body.temperature is None else body.temperature,
        top_p=1.0 if body.top_p is None else body.top_p,
        stop=(body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ()),
        seed=free if body.seed is None else body.seed,
        prompt_logprobs=bool(body.echo) and body.logprobs is not None,
    )
    asked = with_controls(asked, body)
    # As many as are answered are no choice.
    return asked if searches(body) else replace(asked, best_of=1)


async def _in_session(
    context: Context, model: Model, body: CompletionBody, asked: GenerateRequest, prompt: Tokens, key: str | None
) -> AsyncGenerator[Piece, None]:
    wanted = OpenSession(model.manifest.name, owner=owner(), id=body.session_id, durability=body.durability)
    when = expected(body.position, key)
    async with opened_or_found(context.service, model, wanted) as (session, _):
        pieces = generate(
            session, asked, prompt=prompt, prefixes=context.service.prefixes, expected=when, limits=context.limits
        )
        async with aclosing(as_generator(pieces)) as closing:
            async for piece in closing:
                yield 0, piece


async def merged(choices: Sequence[AsyncGenerator[TextPiece, None]]) -> AsyncGenerator[Piece, None]:
    """The pieces of all choices as they come, each with the index of its choice."""
    if len(choices) == 1:
        async with aclosing(choices[0]) as only:
            async for piece in only:
                yield 0, piece
        return
    waiting: asyncio.Queue[Piece | Exception | None] = asyncio.Queue(maxsize=len(choices))

    async def pump(index: int, choice: AsyncGenerator[TextPiece, None]) -> None:
        try:
            async with aclosing(choice):
                async for piece in choice:
                    await waiting.put((index, piece))
        except Exception as error:
            await waiting.put(error)
        else:
            await waiting.put(None)

    pumps = [asyncio.ensure_future(pump(index, choice)) for index, choice in enumerate(choices)]
    try:
        running = len(pumps)
        while running:
            item = await waiting.get()
            if isinstance(item, Exception):
                raise item
            if item is None:
                running -= 1
            else:
                yield item
    finally:
        await stop(*pumps)


async def _counted(
    context: Context, model: Model, answer: Answer, pieces: AsyncGenerator[Piece, None]
) -> AsyncGenerator[Piece, None]:
    async with aclosing(pieces):
        async for index, piece in pieces:
            answer.note(piece)
            if not piece.repeated:
                context.metrics.on_tokens(model.manifest.name, "completion", len(piece.tokens))
            yield index, piece
    context.metrics.on_tokens(model.manifest.name, "prompt", answer.prompt_tokens)


async def _events(answer: Answer, first: Piece, rest: AsyncGenerator[Piece, None]) -> AsyncGenerator[bytes, None]:
    without = {"usage": None} if answer.shows_usage else {}
    try:
        yield to_json(await answer.part(first) | without)
        async for piece in rest:
            yield to_json(await answer.part(piece) | without)
    except Exception as error:
        yield to_json(error_body(ours(error)))
        return
    if answer.shows_usage:
        yield to_json(answer.chunk([]) | {"usage": answer.usage()})
    yield b"[DONE]"
