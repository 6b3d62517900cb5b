"""What a session remembers of a generation, so that the same request asked again is told alike and goes on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.sessions.recent import recent_after
from service.sessions.record import Record
from service.sessions.session import Session
from service.sessions.transition import NOTHING_EXPECTED, Expected, Transition
from service.tasks.requests import Alternatives, Tokens
from service.tasks.stop import Cut

_PENDING, _REASON = "pending", "finish_reason"
_TOLD = ("told_tokens", "told_log_probabilities")


class Taken(NamedTuple):
    """Tokens by which a session has moved, their text, and the alternatives to them where those were asked for."""

    tokens: list[int]
    text: str
    told: Alternatives | None = None


class Recording:
    """One generating transition as far as it is committed.

    Args:
        last: what was recorded of it, where it was begun before.
    """

    def __init__(
        self, session: Session, prompt: Tokens, expected: Expected, digest: bytes, last: Transition | None
    ) -> None:
        self._session = session
        self._prompt = prompt
        self._is_kept = expected != NOTHING_EXPECTED
        self.repeated = last is not None
        # The character that an earlier generation left incomplete goes on, unless a prompt comes between.
        pending = session.text_pending if len(prompt) == 0 else b""
        self._transition = last or Transition(
            session.position, 0, expected.key, digest, {}, complete=False, note={_PENDING: pending}
        )
        self._next = self._transition

    @property
    def start(self) -> int:
        return self._transition.start

    @property
    def complete(self) -> bool:
        return self._transition.complete

    @property
    def reason(self) -> str | None:
        """Why the text ended, once it has."""
        return self._transition.note.get(_REASON, "length") if self.complete else None

    @property
    def pending(self) -> bytes:
        """The bytes of a character begun before the text."""
        pending: bytes = self._transition.note[_PENDING]
        return pending

    @property
    def prompt_taken(self) -> bool:
        """Whether there is no prompt left to commit."""
        return self._transition.taken > 0 or len(self._prompt) == 0

    @property
    def position_after_prompt(self) -> int:
        """Of the last token, the prompt's counted whether they are committed or not."""
        return self.start + len(self._prompt) + len(self.tokens)

    @property
    def tokens(self) -> list[int]:
        """The generated tokens."""
        tokens: list[int] = self._transition.outputs["tokens"].tolist() if self._transition.outputs else []
        return tokens

    @property
    def told(self) -> Alternatives | None:
        """The alternatives to them that were told."""
        outputs = self._transition.outputs
        return Alternatives(*(outputs[name] for name in _TOLD)) if _TOLD[0] in outputs else None

    def record(self, tokens: list[int], cut: Cut, reason: str | None, told: Alternatives | None = None) -> Record:
        """What the session is to remember with these tokens more, after which the text ends if there is a reason."""
        before, transition = self._transition.outputs, self._transition
        outputs: dict[str, NDArray[Any]] = {"tokens": np.array(tokens, np.int64)}
        if told is not None:
            outputs |= dict(zip(_TOLD, (told.tokens, told.log_probabilities), strict=True))
        if before:
            outputs = {name: np.concatenate([before[name], array]) for name, array in outputs.items()}
        note = transition.note if reason is None else {**transition.note, _REASON: reason}
        taken = len(self._prompt) + len(outputs["tokens"])
        self._next = replace(transition, taken=taken, outputs=outputs, complete=reason is not None, note=note)
        moved = tokens if self.prompt_taken else [*self._prompt.tolist(), *tokens]
        return self._session.record_at(
            self._next.position,
            self._next if self._is_kept else None,
            text_pending=b"" if cut.remainder else cut.pending,
            recent=recent_after(self._session.recent, moved),
        )

    def committed(self) -> None:
        """What was recorded last is committed."""
        self._transition = self._next

    def end(self, reason: str) -> None:
        """The text ends where it was committed; asked again, it will be found to end there again."""
        note = {**self._transition.note, _REASON: reason}
        self._transition = self._next = replace(self._transition, complete=True, note=note)
