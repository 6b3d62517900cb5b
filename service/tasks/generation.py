"""One generating transition of a session, committed piece by piece; and one piece as a job."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.engine.job import Job, Result
from service.engine.random import uniforms
from service.engine.state_table import Rows
from service.models.tokenizer import StreamDecoder, Tokenizer
from service.sessions.session import Record
from service.sessions.transition import NOTHING_EXPECTED, Expected, Transition
from service.sessions.turn import Turn
from service.tasks.stop import StopMatcher

Tokens = NDArray[np.int64]

_DRAWN_AT_ONCE = 256
PIECE_TOKENS = 16
"""Tokens between two commits of a generation, and so between two pieces of a streamed answer."""


_LEAST_TOP_P = 1e-9
"""What 0 stands for: a nucleus of the likeliest token alone."""


@dataclass(frozen=True)
class GenerateRequest:
    """How to continue: at most `max_tokens`, sampled at `temperature` (0 takes the likeliest) within the nucleus
    `top_p` (Holtzman et al. 2020; 0 leaves the likeliest token alone), ending after any of the `stop` strings."""

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None


@dataclass(frozen=True)
class TextPiece:
    """A piece of generated text. The last one says why it ended; a stop string is taken in and not shown.

    `position` and `durable_position` are the session's after the piece, and None without a session.
    """

    text: str
    tokens: list[int]
    finish_reason: str | None
    position: int | None = None
    durable_position: int | None = None
    repeated: bool = False
    restored: bool = False


class SessionGeneration:
    """One generating transition of a session: what was recorded of it first, then what is left."""

    def __init__(
        self,
        turn: Turn,
        request: GenerateRequest,
        prompt: Tokens,
        expected: Expected,
        digest: bytes,
        last: Transition | None,
        tokenizer: Tokenizer,
    ) -> None:
        self._turn, self._session = turn, turn.session
        self._expected = expected
        self._request, self._prompt = request, prompt
        self._repeated = last is not None
        # The character that an earlier generation left incomplete goes on, unless a prompt comes between.
        pending = self._session.text_pending if len(prompt) == 0 else b""
        self._transition = last or Transition(
            self._session.position, 0, expected.key, digest, {}, complete=False, note={"pending": pending}
        )
        self._committed = self._transition
        self._matcher = StopMatcher(StreamDecoder(tokenizer, self._transition.note["pending"]), request.stop)
        seed = self._session.seed if request.seed is None else request.seed
        self._draws = Draws(seed, self._transition.start + len(prompt) + request.max_tokens)

    async def pieces(self) -> AsyncGenerator[TextPiece, None]:
        if self._repeated:
            recorded = self._generated()
            self._matcher.feed(recorded)
            yield self._piece(recorded, self._repeated)
            if self._transition.complete:
                return
        if self._request.max_tokens == 0 and not len(self._prompt):
            self._turn.require_position(self._expected.position)
            yield TextPiece("", [], "length", self._session.position, self._session.durable_position)
            return
        rows = None
        if self._transition.taken == 0 and len(self._prompt):
            observe = Job("observe", len(self._prompt), {"tokens": self._prompt[np.newaxis]})
            if self._request.max_tokens == 0:
                await self._commit(observe)
                yield self._piece([], False)
                return
            rows = (await self._turn.peek(observe)).rows
        while not self._transition.complete:
            before = len(self._generated())
            await self._commit(self._next_job(rows))
            rows = None
            yield self._piece(self._generated()[before:], False)

    async def _commit(self, job: Job) -> None:
        await self._turn.commit(job, self._record)
        self._transition = self._committed

    def _next_job(self, rows: Rows | None) -> Job:
        done = len(self._generated())
        start = self._transition.start + len(self._prompt) + done
        count = min(PIECE_TOKENS, self._request.max_tokens - done)
        return generate_job(self._request, rows, self._draws.after(start, count), self._matcher)

    def _record(self, result: Result) -> Record:
        """What the session will remember of it."""
        before = self._transition.outputs
        outputs = {name: array[0].copy() for name, array in result.outputs.items()}
        if "tokens" not in outputs:  # the prompt alone was taken in
            outputs = {"tokens": np.empty(0, np.int64)}
        elif before:
            outputs = {name: np.concatenate([before[name], array]) for name, array in outputs.items()}
        generated = len(outputs["tokens"])
        self._committed = replace(
            self._transition,
            taken=len(self._prompt) + generated,
            outputs=outputs,
            complete=generated >= self._request.max_tokens or self._matcher.stopped_by is not None,
        )
        last = None if self._expected == NOTHING_EXPECTED else self._committed
        return self._session.record_at(self._committed.position, last, text_pending=self._matcher.pending)

    def _generated(self) -> list[int]:
        tokens: list[int] = self._transition.outputs["tokens"].tolist() if self._transition.outputs else []
        return tokens

    def _piece(self, tokens: list[int], repeated: bool) -> TextPiece:
        reason = None
        if self._transition.complete:
            reason = "length" if self._matcher.stopped_by is None else "stop"
            self._matcher.finish()
        text = self._matcher.take_text()
        session = self._session
        return TextPiece(
            *(text, tokens, reason, session.position, session.durable_position, repeated),
            restored=session.tell_restored(),
        )


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


def generate_job(
    request: GenerateRequest, rows: Rows | None, draws: NDArray[np.float32], matcher: StopMatcher | None
) -> Job:
    """A piece of as many tokens as there are draws (1, T), shorter if a stop string ends it.

    Args:
        matcher: looks at the tokens as they are drawn; None where nothing ends them, and nobody looks before the end.
    """
    controls = {
        "temperature": np.array([request.temperature], np.float32),
        "top_p": np.array([max(request.top_p, _LEAST_TOP_P)], np.float32),
    }

    def accept(outputs: dict[str, NDArray[Any]]) -> int | None:
        assert matcher is not None
        taken = matcher.feed(outputs["tokens"][0].tolist())
        return None if matcher.stopped_by is None else taken

    look = None if matcher is None else accept
    return Job("generate", draws.shape[1], {"uniforms": draws}, controls, rows=rows, accept=look)
