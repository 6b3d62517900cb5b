"""A prompt taken in once for all the choices that continue it, from where another prompt had begun alike."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np

from service.engine.job import Job
from service.engine.state_table import Rows
from service.models.model import Model
from service.sessions.prefix_cache import PrefixCache
from service.tasks.drawing import Running
from service.tasks.requests import Alternatives, Tokens


async def read_prompt(model: Model, run: Running, tokens: Tokens, prefixes: PrefixCache) -> tuple[Rows, int]:
    """The row (1, S) after a prompt (T,) that begins a text, and how many of its tokens had been read before."""
    rows = model.initial()[np.newaxis]
    if len(tokens) == 0:
        return rows, 0
    cached, found = prefixes.longest(model, tokens)
    start = cached
    rows = rows if found is None else found
    kept: list[tuple[int, Rows]] = []
    try:
        for end in prefixes.stops(len(tokens)):
            if end > start:
                part = tokens[np.newaxis, start:end]
                rows = (await run(Job("observe", end - start, {"tokens": part}, rows=rows))).rows
                kept.append((end, rows))
                start = end
    finally:
        if kept:
            prefixes.keep(model, tokens, kept)
    return rows, cached


class Prefill:
    """Tokens (T,) that a model takes in when the first asks for the row after them; whoever asks later shares it."""

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self._answer: asyncio.Future[tuple[Rows, int]] | None = None
        self._waiting = 0
        self._told: Alternatives | None = None
        self._telling = asyncio.Lock()

    async def rows(self, model: Model, run: Running, prefixes: PrefixCache) -> tuple[Rows, int]:
        """The row (1, S) after the tokens, and how many had been read before.

        Once nobody waits for it any more, the work is given up.
        """
        if self._answer is None:
            self._answer = asyncio.ensure_future(read_prompt(model, run, self.tokens, prefixes))
        self._waiting += 1
        try:
            return await asyncio.shield(self._answer)
        finally:
            self._waiting -= 1
            if not self._waiting and not self._answer.done():
                self._answer.cancel()
                self._answer = None

    async def told(self, read: Callable[[], Awaitable[Alternatives]]) -> Alternatives:
        """What is told of the tokens: the same to whoever asks, read when the first does."""
        async with self._telling:
            if self._told is None:
                self._told = await read()
            return self._told
