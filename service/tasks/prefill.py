"""A prompt taken in once for all the choices that continue it."""

from __future__ import annotations

import asyncio

import numpy as np

from service.engine.engine import Engine
from service.engine.job import Job, Result
from service.engine.state_table import Rows
from service.tasks.generation import Tokens


class Prefill:
    """Tokens (T,) that a model takes in when the first asks for the row after them; whoever asks later shares it."""

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self._answer: asyncio.Future[Result] | None = None
        self._waiting = 0

    async def rows(self, engine: Engine) -> Rows:
        """The row (1, S) after the tokens; once nobody waits for it any more, the work is given up."""
        initial = engine.model.initial()[np.newaxis]
        if len(self.tokens) == 0:
            return initial
        if self._answer is None:
            self._answer = engine.submit(
                Job("observe", len(self.tokens), {"tokens": self.tokens[np.newaxis]}, rows=initial)
            )
        self._waiting += 1
        try:
            return (await asyncio.shield(self._answer)).rows
        finally:
            self._waiting -= 1
            if not self._waiting and not self._answer.done():
                self._answer.cancel()
                self._answer = None
