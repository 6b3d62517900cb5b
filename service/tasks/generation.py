"""One generating transition of a session, committed piece by piece.

Text is delivered when it is certain, and what is delivered is committed before: so the session always stands exactly
after the text its client has. What is drawn beyond it lies on scratch rows.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.engine.job import Job, Result
from service.engine.state_table import Rows
from service.sessions.prefix_cache import PrefixCache
from service.sessions.recent import recent_tokens
from service.sessions.record import Record
from service.sessions.transition import Expected, Transition
from service.sessions.turn import Turn
from service.tasks.ahead import Ahead, text_of
from service.tasks.alternatives import alternatives, alternatives_to
from service.tasks.constraint import Follower
from service.tasks.drawing import Drawer, Drawn, Draws
from service.tasks.prefill import read_prompt
from service.tasks.reading import text_task
from service.tasks.recording import Recording, Taken
from service.tasks.requests import PIECE_TOKENS, Alternatives, GenerateRequest, TextPiece, Tokens
from service.tasks.search import Beginning, search
from service.tasks.stop import Cut, look


class SessionGeneration:
    """One generating transition of a session: what was recorded of it first, then what is left.

    Args:
        last: what was recorded of it, where it was begun before.
        follower: at the beginning of the language that the text is to be of.
        prefixes: where the rows after the beginnings of prompts are.
    """

    def __init__(
        self,
        turn: Turn,
        request: GenerateRequest,
        prompt: Tokens,
        expected: Expected,
        digest: bytes,
        last: Transition | None,
        follower: Follower | None,
        prefixes: PrefixCache | None,
    ) -> None:
        self._expected = expected
        self._turn, self._session, self._model = turn, turn.session, turn.session.model
        self._request, self._prompt = request, prompt
        self._prefixes = prefixes
        self._recording = Recording(turn.session, prompt, expected, digest, last)
        self._task, tokenizer = text_task(self._model)
        generated = self._recording.tokens
        if follower is not None:
            follower.take(generated)
        self._seed = self._session.seed if request.seed is None else request.seed
        draws = Draws(self._seed, self._recording.start + len(prompt) + request.max_tokens)
        delivered = look(tokenizer, self._recording.pending, generated, (), final=True)
        self._recorded_text = delivered.text
        self._ahead = Ahead(
            self._model, request, Drawer(self._model, request, turn.peek, draws, follower), delivered.pending
        )
        self._base: Rows | None = None
        """The row (1, S) after the prompt, which the first commit starts from; None for the session's own."""
        self._of_prompt: Alternatives | None = None
        self._cached = 0

    async def pieces(self) -> AsyncGenerator[TextPiece, None]:
        recording = self._recording
        if recording.repeated:
            yield self._piece(Taken(recording.tokens, self._recorded_text, recording.told), repeated=True)
            if recording.complete:
                return
        if not recording.prompt_taken and (self._request.max_tokens or self._request.prompt_logprobs):
            self._base = self._ahead.rows = await self._read_prompt()
        if self._request.max_tokens == 0:
            self._turn.require_position(self._expected.position)
            yield self._piece(await self._end("length"))
        elif self._request.beams or self._request.best_of > 1:
            yield self._piece(await self._search())
        while not recording.complete:
            taken = await self._draw()
            if taken is not None:
                yield self._piece(taken)

    @property
    def _left(self) -> int:
        """Tokens that the text may still have."""
        return self._request.max_tokens - len(self._recording.tokens)

    @property
    def _history(self) -> list[int]:
        """The last tokens before those that are drawn next, for the penalties."""
        if not self._request.penalises:
            return []
        prompt = [] if self._recording.prompt_taken else self._prompt[-self._request.penalty_window :].tolist()
        return [*recent_tokens(self._session.recent), *prompt, *self._ahead.tokens]

    async def _read_prompt(self) -> Rows:
        """The row after the prompt; the session stays where it is."""
        peek, count = self._turn.peek, self._request.logprobs
        if self._request.prompt_logprobs and count is not None:
            start = (await self._turn.row())[np.newaxis]
            size = self._task.vocabulary_size
            self._of_prompt, rows = await alternatives_to(peek, start, self._prompt, count, size)
            return rows
        if self._session.position == 0 and self._prefixes is not None:
            rows, self._cached = await read_prompt(self._model, peek, self._prompt, self._prefixes)
            return rows
        return (await peek(Job("observe", len(self._prompt), {"tokens": self._prompt[np.newaxis]}))).rows

    async def _draw(self) -> Taken | None:
        """Draw some tokens more, and commit what is certain; None where nothing is yet."""
        count = min(PIECE_TOKENS, self._left - len(self._ahead))
        position = self._recording.position_after_prompt + len(self._ahead)
        if self._request.steps_beside or self._request.logprobs is not None:
            drawn = await self._ahead.drawer.draw(await self._scratch(), position, count, self._history)
            self._ahead.add(*drawn)
            return await self._take_in(self._ahead.look(self._left))
        return await self._draw_and_commit(position, count)

    async def _draw_and_commit(self, position: int, count: int) -> Taken | None:
        """Draw in one run, which commits itself where all that it gives is certain."""
        ahead, left = self._ahead, self._left

        def seen(outputs: dict[str, NDArray[Any]]) -> tuple[list[int], Cut]:
            more = outputs["tokens"][0].tolist()
            return [*ahead.tokens, *more], ahead.look(left, more)

        def all_is_certain(outputs: dict[str, NDArray[Any]]) -> bool:
            tokens, cut = seen(outputs)
            return cut.stopped_by is None and cut.tokens == len(tokens)

        def record(result: Result) -> Record:
            tokens, cut = seen(result.outputs)
            return self._recording.record(tokens, cut, self._reason(cut))

        job = ahead.drawer.job(ahead.rows, position, count)
        job.commit_if = all_is_certain if self._request.stop else None
        result = await self._turn.commit(job, record)
        tokens, cut = seen(result.outputs)
        if job.commit is None:
            ahead.add([Drawn(token, None) for token in tokens[len(ahead) :]], result.rows)
            return await self._take_in(cut)
        self._delivered(cut)
        ahead.rows = None
        return Taken(tokens, cut.text)

    async def _scratch(self) -> Rows:
        """The row after all that is drawn."""
        if self._ahead.rows is None:
            self._ahead.rows = (await self._turn.row())[np.newaxis]
        return self._ahead.rows

    async def _take_in(self, cut: Cut) -> Taken | None:
        """Commit what is certain, if anything is, and whatever is left to commit at the end."""
        rest = self._ahead.remainder(cut)
        tokens = [*self._ahead.tokens[: cut.tokens], *rest]
        if tokens:
            return await self._commit(tokens, cut, None if rest else self._ahead.before(cut.tokens))
        reason = self._reason(cut)
        return None if reason is None else await self._end(reason)

    async def _commit(self, tokens: list[int], cut: Cut, before: Rows | None) -> Taken:
        """Move the session by tokens, the last of which follows the row `before` where that is known."""
        given, count = np.array([tokens], np.int64), self._request.logprobs
        reason, told = self._reason(cut), list[Alternatives]()
        if count is not None:
            job = Job("predict", len(tokens), {"tokens": given}, rows=self._base)
        elif before is not None:
            job = Job("observe", 1, {"tokens": given[:, -1:]}, rows=before)
        else:
            job = Job("observe", len(tokens), {"tokens": given}, rows=self._base)

        def record(result: Result) -> Record:
            if count is not None:
                told.append(alternatives(result.outputs["logits"][0], tokens, count))
            return self._recording.record(tokens, cut, reason, told[0] if told else None)

        await self._turn.commit(job, record)
        self._delivered(cut)
        return Taken(tokens, text_of(cut), told[0] if told else None)

    async def _end(self, reason: str) -> Taken:
        """End without a token more; the prompt is committed, where it is not yet."""
        if not self._recording.prompt_taken:
            job = Job("observe", len(self._prompt), {"tokens": self._prompt[np.newaxis]})
            nothing = Cut(0, "", b"")
            await self._turn.commit(job, lambda _: self._recording.record([], nothing, reason))
            self._recording.committed()
        else:
            self._recording.end(reason)
        return Taken([], "")

    async def _search(self) -> Taken:
        """The best of several texts, committed as a whole."""
        follower, position = self._ahead.drawer.follower, self._recording.position_after_prompt
        begin = Beginning(await self._scratch(), position, self._history, self._ahead.pending, follower)
        best = (await search(self._model, self._request, self._turn.peek, begin, self._seed))[0]
        if not best.tokens:
            return await self._end(best.finish_reason)
        stopped_by = "" if best.finish_reason == "stop" else None
        return await self._commit(best.tokens, Cut(len(best.tokens), best.text, best.pending, stopped_by), None)

    def _reason(self, cut: Cut) -> str | None:
        """Why the text ends with what is certain, if it does."""
        if cut.stopped_by is not None or (self._ahead.drawer.ended and cut.tokens == len(self._ahead)):
            return "stop"
        return "length" if cut.tokens >= self._left else None

    def _delivered(self, cut: Cut) -> None:
        self._recording.committed()
        self._ahead.deliver(cut)
        self._base = None

    def _piece(self, taken: Taken, *, repeated: bool = False) -> TextPiece:
        session = self._session
        of_prompt, self._of_prompt = self._of_prompt, None
        cached, self._cached = self._cached, 0
        return TextPiece(
            *(taken.text, taken.tokens, self._recording.reason),
            *(session.position, session.durable_position, repeated),
            restored=session.tell_restored(),
            alternatives=taken.told,
            prompt_alternatives=of_prompt,
            cached_tokens=cached,
        )
