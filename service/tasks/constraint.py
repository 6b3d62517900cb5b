"""Constrained output: which tokens may come next so that the text is of a given language, by llguidance.

The language of a request is compiled once; every text that is drawn from it follows its own copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from weakref import WeakKeyDictionary

import llguidance
import numpy as np
from llguidance import LLMatcher, LLParserLimits, LLTokenizer, TokenizerWrapper
from numpy.typing import NDArray

from service.errors import InputMismatch
from service.models.tokenizer import Tokenizer
from service.tasks.requests import Constraint

_FORMATS: dict[str, llguidance.GrammarFormat] = {"regex": "regex", "json_schema": "json_schema", "grammar": "grammar"}
_SHOWN = 300

_vocabularies: WeakKeyDictionary[Tokenizer, LLTokenizer] = WeakKeyDictionary()


class Follower:
    """Where one text stands in its language."""

    def __init__(self, matcher: LLMatcher, vocabulary_size: int, first_bytes: AbstractSet[int]) -> None:
        self._matcher = matcher
        self._vocabulary_size = vocabulary_size
        self._first_bytes = first_bytes

    @classmethod
    def compile(cls, constraint: Constraint, tokenizer: Tokenizer) -> Follower:
        """At the beginning of the constraint's language. May take a while: not for the event loop.

        Raises:
            InputMismatch: it is none, or too large.
        """
        try:
            grammar = llguidance.grammar_from(_FORMATS[constraint.kind], constraint.text)
        except ValueError as error:
            raise _mismatch(constraint, str(error)) from None
        # What one step may cost is bounded, since steps are made where others wait.
        limits = LLParserLimits(step_lexer_fuel=100_000, step_max_items=20_000, verbose_errors=False)
        matcher = LLMatcher(_vocabulary(tokenizer), grammar, log_level=0, limits=limits)
        if matcher.is_error():
            raise _mismatch(constraint, matcher.get_error())
        return cls(matcher, tokenizer.vocabulary_size, {part[0] for part in tokenizer.drawable_bytes() if part})

    def copy(self) -> Follower:
        """Another text that stands at the same place and goes its own way."""
        return Follower(self._matcher.deep_copy(), self._vocabulary_size, self._first_bytes)

    @property
    def ended(self) -> bool:
        """Whether the text is whole and nothing may follow."""
        return self._matcher.is_stopped()

    def allowed(self) -> NDArray[np.bool_]:
        """Which tokens (V,) may come next; at least one.

        Raises:
            InputMismatch: none of the model's may, or finding out costs too much.
        """
        forced = self._matcher.compute_ff_bytes()
        if forced and forced[0] not in self._first_bytes:
            must = forced.decode("utf-8", "replace")[:_SHOWN]
            raise InputMismatch(f"constraint: the model has no token for {must!r}, which must come next: allow another")
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        found = np.unpackbits(bits, count=self._vocabulary_size, bitorder="little").astype(bool)
        error = self._matcher.get_error()
        if error and "NoExtension" not in error:
            raise self._stuck(error)
        if not found.any():
            raise InputMismatch("constraint: the model has no token for anything that may come next: allow more")
        return found

    def take(self, tokens: Sequence[int]) -> None:
        """Go on by tokens that are part of the text."""
        if tokens and not self._matcher.consume_tokens(list(tokens)):
            raise self._stuck(self._matcher.get_error())

    def _stuck(self, error: str) -> InputMismatch:
        return InputMismatch(f"constraint: cannot be followed further: {' '.join(error.split())[:_SHOWN]}")


def _vocabulary(tokenizer: Tokenizer) -> LLTokenizer:
    """The tokenizer's vocabulary, with an end of text behind it that no model has."""
    found = _vocabularies.get(tokenizer)
    if found is None:
        found = _vocabularies[tokenizer] = LLTokenizer(TokenizerWrapper(_Vocabulary(tokenizer)))
    return found


class _Vocabulary:
    """What llguidance asks of a tokenizer."""

    bos_token_id = None

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokens = [*tokenizer.drawable_bytes(), b"<end>"]
        self.eos_token_id = len(self.tokens) - 1
        self.special_token_ids = [self.eos_token_id]
        self._tokenizer = tokenizer

    def __call__(self, text: bytes) -> list[int]:
        return self._tokenizer.encode_bytes(text)


def _mismatch(constraint: Constraint, why: str) -> InputMismatch:
    what = constraint.kind
    return InputMismatch(f"{what}: cannot be read: {' '.join(why.split())[:_SHOWN]}", parameter=what)
