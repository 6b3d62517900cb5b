"""Drawing tokens from a row: many in one run of the graph, or one a run beside it, where controls ask for that."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.engine.job import Job, Result
from service.engine.random import uniforms
from service.engine.state_table import Rows
from service.errors import InputMismatch
from service.models.conventions import pending_offset
from service.models.model import Model
from service.models.tokenizer import Tokenizer
from service.tasks.constraint import Follower
from service.tasks.requests import GenerateRequest
from service.tasks.sampling import LEAST_TOP_P, draw, weights

_DRAWN_AT_ONCE = 256

Running = Callable[[Job], Awaitable[Result]]
"""Runs a job that commits nothing."""


class Draws:
    """The uniforms of one generated text by position, drawn many at a time: few would cost as much.

    Args:
        end: the last position that may be drawn for.
    """

    def __init__(self, seed: int, end: int, *, prompt_index: int = 0, sample_index: int = 0) -> None:
        self._seed, self._end = seed, end
        self._prompt, self._sample = prompt_index, sample_index
        self._first = 0
        self._drawn = np.empty(0, np.float32)

    def after(self, position: int, count: int) -> NDArray[np.float32]:
        """The uniforms (1, count) of the positions that follow."""
        start = position + 1 - self._first
        if start < 0 or start + count > len(self._drawn):
            last = min(self._end, position + max(count, _DRAWN_AT_ONCE))
            positions = np.arange(position + 1, last + 1)
            self._drawn = uniforms(self._seed, positions, sample=self._sample, prompt=self._prompt)
            self._first, start = position + 1, 0
        return self._drawn[np.newaxis, start : start + count]


def generate_job(request: GenerateRequest, rows: Rows | None, draws: NDArray[np.float32]) -> Job:
    """A job that draws as many tokens as there are uniforms (1, T), in one run of the graph."""
    controls = {
        "temperature": np.array([request.temperature], np.float32),
        "top_p": np.array([max(request.top_p, LEAST_TOP_P)], np.float32),
    }
    return Job("generate", draws.shape[1], {"uniforms": draws}, controls, rows=rows)


def predict_job(tokens: Sequence[int] | NDArray[np.int64], rows: Rows | None) -> Job:
    """A job that takes tokens (T,) in and tells the logits of all tokens at the place of each."""
    given = np.asarray(tokens, np.int64)[np.newaxis]
    return Job("predict", given.shape[1], {"tokens": given}, rows=rows)


class Drawn(NamedTuple):
    """A token, and the row (1, S) before it where that is known: taking the token in from there gives the row after."""

    token: int
    before: Rows | None


class Drawer:
    """Draws the tokens of one text.

    Args:
        run: where jobs go.
        follower: where the text stands in the language it is to be of.
    """

    def __init__(
        self, model: Model, request: GenerateRequest, run: Running, draws: Draws, follower: Follower | None
    ) -> None:
        self._request = request
        self._run = run
        self._draws = draws
        self.follower = follower
        self._pending = pending_offset(model.manifest) if request.steps_beside else 0
        assert model.manifest.text is not None
        self._unknown = model.manifest.text.unknown_token

    @property
    def ended(self) -> bool:
        """Whether the text is whole and nothing may follow."""
        return self.follower is not None and self.follower.ended

    def job(self, rows: Rows | None, position: int, count: int) -> Job:
        """One run that draws `count` tokens, for requests that need no more."""
        return generate_job(self._request, rows, self._draws.after(position, count))

    async def draw(self, rows: Rows, position: int, count: int, history: Sequence[int]) -> tuple[list[Drawn], Rows]:
        """Up to `count` tokens that follow `position`, and the row (1, S) after them.

        Args:
            history: tokens before, for the penalties.

        Raises:
            InputMismatch: the constraint cannot be followed.
            Overloaded, StepFailed: what a run may end in.
        """
        if not self._request.steps_beside:
            result = await self._run(self.job(rows, position, count))
            return [Drawn(token, None) for token in result.outputs["tokens"][0].tolist()], result.rows
        drawn: list[Drawn] = []
        seen = list(history)
        shares = self._draws.after(position, count)[0].tolist()
        for share in shares:
            if self.ended:
                break
            token, after = await self._step(rows, share, seen)
            drawn.append(Drawn(token, rows))
            seen.append(token)
            rows = after
        return drawn, rows

    async def _step(self, rows: Rows, share: float, history: Sequence[int]) -> tuple[int, Rows]:
        """One token, and the row after it."""
        allowed = None if self.follower is None else self.follower.allowed()
        result = await self._run(predict_job([0], rows))
        logits = result.outputs["logits"][0, 0]
        if self._unknown is not None:
            logits = logits.copy()
            logits[self._unknown] = -np.inf
        token = draw(weights(logits, self._request, history, allowed), share)
        after = result.rows.copy()
        after[:, self._pending] = token
        if self.follower is not None:
            self.follower.take([token])
        return token, after


class Language:
    """The language that all texts of one request are to be of, compiled once, when the first text asks for it."""

    def __init__(self, request: GenerateRequest, tokenizer: Tokenizer) -> None:
        self._constraint = request.constraint
        self._tokenizer = tokenizer
        self._one_at_a_time = asyncio.Lock()
        self._begin: Follower | InputMismatch | None = None

    async def follower(self) -> Follower | None:
        """A text's own at the beginning of the language; None where a text may be any.

        Raises:
            InputMismatch: it cannot be read, or the model cannot begin a text of it.
        """
        if self._constraint is None:
            return None
        async with self._one_at_a_time:
            if self._begin is None:
                try:
                    self._begin = await asyncio.to_thread(Follower.compile, self._constraint, self._tokenizer)
                except InputMismatch as error:
                    self._begin = error
        if isinstance(self._begin, InputMismatch):
            raise self._begin
        return self._begin.copy()


async def follower_of(request: GenerateRequest, tokenizer: Tokenizer) -> Follower | None:
    """At the beginning of the language that one text is to be of, if it is to be of any.

    Raises:
        InputMismatch: it cannot be read, or the model cannot begin a text of it.
    """
    return await Language(request, tokenizer).follower()
