"""Several texts to choose from: the best of some that are drawn, and beam search.

Both leave every session as it is; whoever asked commits the one that was chosen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.engine.job import Job
from service.engine.state_table import Rows
from service.models.conventions import pending_offset
from service.models.model import Model
from service.tasks.ahead import Ahead, text_of
from service.tasks.constraint import Follower
from service.tasks.drawing import Drawer, Draws, Running
from service.tasks.requests import PIECE_TOKENS, GenerateRequest
from service.tasks.sampling import largest, log_probabilities
from service.tasks.stop import look

_PIECES_AT_ONCE = 4
_LONGEST_CHARACTER = 4


@dataclass(frozen=True)
class Beginning:
    """Where texts go on from: a row (1, S), the position it stands at, and what was before."""

    rows: Rows
    position: int
    history: Sequence[int] = ()
    pending: bytes = b""
    follower: Follower | None = None


@dataclass(frozen=True)
class Found:
    """One text. Better ones have a higher `score`."""

    tokens: list[int]
    text: str
    pending: bytes
    finish_reason: str
    score: float


async def search(
    model: Model, request: GenerateRequest, run: Running, begin: Beginning, seed: int, *, prompt_index: int = 0
) -> list[Found]:
    """Texts that continue, the best one first: the beams of a beam search, or `best_of` that are drawn.

    Raises:
        InputMismatch, Overloaded, StepFailed
    """
    if request.beams:
        return await _beams(model, request, run, begin)
    texts = [
        _drawn(model, request, run, begin, Draws(seed, begin.position + request.max_tokens, **where))
        for where in ({"prompt_index": prompt_index, "sample_index": index} for index in range(request.best_of))
    ]
    return sorted(await asyncio.gather(*texts), key=lambda found: -found.score)


async def _drawn(model: Model, request: GenerateRequest, run: Running, begin: Beginning, draws: Draws) -> Found:
    """One text that is drawn whole; its score is the mean of its tokens' log-probabilities."""
    follower = None if begin.follower is None else begin.follower.copy()
    drawer = Drawer(model, request, run, draws, follower)
    ahead = Ahead(model, request, drawer, begin.pending)
    ahead.rows = begin.rows
    while True:
        assert ahead.rows is not None
        count = min(_PIECES_AT_ONCE * PIECE_TOKENS, request.max_tokens - len(ahead))
        history = [*begin.history, *ahead.tokens]
        ahead.add(*await drawer.draw(ahead.rows, begin.position + len(ahead), count, history))
        cut = ahead.look(request.max_tokens)
        if cut.stopped_by is not None or drawer.ended or len(ahead) >= request.max_tokens:
            break
    tokens = [*ahead.tokens[: cut.tokens], *ahead.remainder(cut)]
    reason = "stop" if cut.stopped_by is not None or drawer.ended else "length"
    pending = b"" if cut.remainder else cut.pending
    if not tokens:
        return Found([], "", pending, reason, -np.inf)
    told = await run(Job("observe", len(tokens), {"tokens": np.array([tokens])}, rows=begin.rows))
    score = float(told.outputs["log_probabilities"][0].mean(dtype=np.float64))
    return Found(tokens, text_of(cut), pending, reason, score)


@dataclass(frozen=True)
class _Beam:
    tokens: list[int]
    log_probability: float


class _Beams:
    """The beams of one search, and those of them that are finished."""

    def __init__(self, model: Model, request: GenerateRequest, begin: Beginning) -> None:
        assert model.manifest.text is not None and model.tokenizer is not None
        self._tokenizer = model.tokenizer
        self._unknown = model.manifest.text.unknown_token
        self._request, self._begin = request, begin
        longest = max(map(len, request.stop), default=0)
        self._tail = longest * _LONGEST_CHARACTER + _LONGEST_CHARACTER
        self.live = [_Beam([], 0.0)]
        self.finished: list[Found] = []

    def grow(self, logits: np.typing.NDArray[np.float32]) -> list[tuple[int, int]]:
        """Go on by one token, from logits (W, V); of each beam that lives on, which it was and its new token."""
        scores = log_probabilities(logits)
        if self._unknown is not None:
            scores[:, self._unknown] = -np.inf
        scores += np.array([[beam.log_probability] for beam in self.live])
        width, size = self._request.beams, scores.shape[1]
        order = largest(scores.ravel(), 2 * width).tolist()
        kept: list[tuple[int, int]] = []
        grown: list[_Beam] = []
        for which, token in (divmod(place, size) for place in order):
            beam = _Beam([*self.live[which].tokens, token], float(scores[which, token]))
            if self._stops(beam):
                self.finished.append(self._found(beam, "stop"))
            elif len(grown) < width and np.isfinite(beam.log_probability):
                kept.append((which, token))
                grown.append(beam)
        self.live = grown
        return kept

    @property
    def done(self) -> bool:
        """Whether no beam that lives can become better than as many finished ones as were asked for."""
        if not self.live or len(self.live[0].tokens) >= self._request.max_tokens:
            return True
        width = self._request.beams
        if len(self.finished) < width:
            return False
        best = self._score(self.live[0].log_probability, len(self.live[0].tokens))
        return sorted(found.score for found in self.finished)[-width] >= best

    def best(self) -> list[Found]:
        """As many texts as there are beams, the best one first."""
        ended = [self._found(beam, "length") for beam in self.live if len(beam.tokens) >= self._request.max_tokens]
        return sorted([*self.finished, *ended], key=lambda found: -found.score)[: self._request.beams]

    def _stops(self, beam: _Beam) -> bool:
        if not self._request.stop:
            return False
        tail = beam.tokens[-self._tail :]
        pending = self._begin.pending if len(tail) == len(beam.tokens) else b""
        return look(self._tokenizer, pending, tail, self._request.stop, final=True).stopped_by is not None

    def _found(self, beam: _Beam, reason: str) -> Found:
        cut = look(self._tokenizer, self._begin.pending, beam.tokens, self._request.stop, final=True)
        rest = self._tokenizer.encode_bytes(cut.remainder.encode().removeprefix(cut.pending)) if cut.remainder else []
        score = self._score(beam.log_probability, len(beam.tokens))
        pending = b"" if cut.remainder else cut.pending
        return Found([*beam.tokens[: cut.tokens], *rest], text_of(cut), pending, reason, score)

    def _score(self, log_probability: float, length: int) -> float:
        return log_probability / float(max(1, length) ** self._request.length_penalty)


async def _beams(model: Model, request: GenerateRequest, run: Running, begin: Beginning) -> list[Found]:
    """The likeliest texts that a search of so many beams finds; scores as in the Transformers library: the sum of all
    log-probabilities, a stop string's included, over the length to the power `length_penalty`."""
    beams, rows, pending = _Beams(model, request, begin), begin.rows, pending_offset(model.manifest)
    while not beams.done:
        any_token = np.zeros((len(rows), 1), np.int64)
        result = await run(Job("predict", 1, {"tokens": any_token}, rows=rows))
        kept = beams.grow(result.outputs["logits"][:, 0])
        rows = result.rows[[which for which, _ in kept]]
        rows[:, pending] = [token for _, token in kept]
    return beams.best()
